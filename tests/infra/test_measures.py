"""Metric filters, alarms and saved queries of CloudWatch use only fields that are logged."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from clipflow.telemetry.logging import (
    CONTEXT_FIELDS,
    LAUNCH_REFUSED,
    METRIC_EVENTS,
    PREFECT_CHECKED,
    PREFECT_FAILED,
    RECORD_COMPLETE,
    RECORD_FAILED,
    SEGMENT_MADE,
    SWEEP_ENDED,
    WARM_CHECKED,
)
from deployments.bridge.prefect_server import POOLS
from deployments.work_pools import work_pools
from tests.infra.cloudwatch import ALARMS, FILTERS
from tests.infra.templates import resources

# The metric events that each log group receives. The bridge also marks records of crashed flow
# runs.
WRITTEN = {
    "FlowsLogGroup": (RECORD_COMPLETE, RECORD_FAILED, SEGMENT_MADE, LAUNCH_REFUSED),
    "BridgeLogGroup": (
        SWEEP_ENDED,
        RECORD_FAILED,
        PREFECT_CHECKED,
        PREFECT_FAILED,
        WARM_CHECKED,
    ),
}
MEASURED = {
    group: {measure.event: set(measure.fields) for measure in measures}
    for group, measures in WRITTEN.items()
}
JOBS = {"clips", "shorts"}


def event_of(pattern: str) -> str:
    found = re.search(r'\$\.event = "(\w+)"', pattern)
    assert found, pattern
    return found[1]


def transformation(name: str) -> dict[str, str]:
    (one,) = FILTERS[name]["MetricTransformations"]
    return dict(one)


@pytest.mark.parametrize("name", FILTERS)
def test_a_metric_filter_reads_only_fields_that_are_logged(name: str) -> None:
    """Also checks that the filter belongs to the log group that receives its event."""
    pattern, value = FILTERS[name]["FilterPattern"], transformation(name)["MetricValue"]
    fields = MEASURED[FILTERS[name]["LogGroupName"]][event_of(pattern)]
    assert set(re.findall(r"\$\.(\w+)", pattern + value)) <= {"event", *fields}
    assert set(re.findall(r'\$\.job = "(\w+)"', pattern)) <= JOBS
    assert re.fullmatch(r'\{ \$\.\w+ = "\w+"( && \$\.\w+ = "\w+")* \}', pattern)


def test_every_event_is_measured_in_each_of_its_log_groups() -> None:
    assert {measure.event for measure in METRIC_EVENTS} == {
        event for events in MEASURED.values() for event in events
    }
    measured = {
        (properties["LogGroupName"], event_of(properties["FilterPattern"]))
        for properties in FILTERS.values()
    }
    assert measured == {(group, event) for group in MEASURED for event in MEASURED[group]}


def test_each_event_is_counted_once() -> None:
    fed = [
        (
            transformation(name)["MetricName"],
            properties["LogGroupName"],
            properties["FilterPattern"],
        )
        for name, properties in FILTERS.items()
    ]
    assert len(fed) == len(set(fed))


def test_alarms_and_dashboard_use_only_existing_metrics() -> None:
    metrics = {transformation(name)["MetricName"] for name in FILTERS}
    assert set(metrics_watched()) <= metrics
    assert set(metrics_shown()) == metrics


def metrics_watched() -> Iterator[str]:
    """The metrics of clipflow that alarms read."""
    for alarm in ALARMS.values():
        for metric in metrics_read(alarm) or [alarm]:
            if metric["Namespace"] == "Namespace":
                yield metric["MetricName"]


def metrics_read(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics that the metric math of an alarm reads."""
    reads = [each.get("MetricStat") for each in alarm.get("Metrics", [])]
    return [stat["Metric"] for stat in reads if stat]


def test_every_pools_observer_is_watched() -> None:
    pools = {pool.name for pool in work_pools(gpu=False, environment={})}
    for alarm, suffix in (("ObserversLag", ""), ("ObserversFail", "-dlq")):
        queues = {metric["Dimensions"][0]["Value"] for metric in metrics_read(ALARMS[alarm])}
        assert queues == {f"{pool}-ecs-events{suffix}" for pool in pools}
    assert set(POOLS) == pools


def metrics_shown() -> Iterator[str]:
    """The metrics of clipflow on the dashboard, in which `.` repeats the value of the row above."""
    (dashboard,) = resources("alarms", "AWS::CloudWatch::Dashboard").values()
    widgets: list[dict[str, Any]] = json.loads(dashboard["DashboardBody"])["widgets"]
    for widget in widgets:
        namespace = ""
        for namespace_or_dots, *rest in widget["properties"].get("metrics", []):
            namespace = namespace if namespace_or_dots[0] == "." else namespace_or_dots
            if namespace == "${Namespace}" and namespace_or_dots != "...":
                yield rest[0]


# The keywords and functions of Logs Insights that the queries use.
KEYWORDS = {
    *("filter", "fields", "stats", "sort", "limit", "by", "as", "asc", "desc", "in"),
    *("bin", "count", "avg", "sum", "coalesce"),
}


def test_queries_use_only_fields_that_are_logged() -> None:
    saved = resources("alarms", "AWS::Logs::QueryDefinition").values()
    (dashboard,) = resources("alarms", "AWS::CloudWatch::Dashboard").values()
    widgets = json.loads(dashboard["DashboardBody"])["widgets"]
    queries = [widget["properties"]["query"] for widget in widgets if widget["type"] == "log"]
    queries += [query["QueryString"] for query in saved]
    assert len(queries) == 8
    for query in queries:
        text = re.sub(r"#.*|SOURCE '[^']*'", "", query)
        events = re.findall(r"event = '(\w+)'", text)
        fields = [logged.get(event, set()) for logged in MEASURED.values() for event in events]
        known = {"event", "level", "logger", "message", "error", *CONTEXT_FIELDS}.union(*fields)
        words = set(re.findall(r"[a-z_]+", re.sub(r"'[^']*'|@\w+|\d+\w*", "", text)))
        made = set(re.findall(r" as (\w+)", text))
        assert words - made - KEYWORDS <= known, query
        assert all(any(event in logged for logged in MEASURED.values()) for event in events)
