"""Metrics, alarms and queries of CloudWatch use only fields that are logged."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from clipflow.telemetry.logging import (
    METRIC_EVENTS,
    RECORD_COMPLETE,
    RECORD_FAILED,
    SEGMENT_MADE,
    SWEEP_ENDED,
)
from tests.infra.templates import resources, written

# The measured log lines, by log group. The bridge marks the record of a flow run that crashed.
WRITTEN = {
    "FlowsLogGroup": (RECORD_COMPLETE, RECORD_FAILED, SEGMENT_MADE),
    "BridgeLogGroup": (SWEEP_ENDED, RECORD_FAILED),
}
MEASURED = {
    group: {measure.event: set(measure.fields) for measure in measures}
    for group, measures in WRITTEN.items()
}
JOBS = {"clips", "shorts"}
FILTERS = resources("metrics", "AWS::Logs::MetricFilter")
ALARMS = resources("alarms", "AWS::CloudWatch::Alarm")


def event_of(pattern: str) -> str:
    found = re.search(r'\$\.event = "(\w+)"', pattern)
    assert found, pattern
    return found[1]


def transformation(name: str) -> dict[str, str]:
    (one,) = FILTERS[name]["MetricTransformations"]
    return dict(one)


@pytest.mark.parametrize("name", FILTERS)
def test_a_metric_filter_reads_only_fields_that_are_logged(name: str) -> None:
    """Each filter is in the log group of its log line."""
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


def test_the_failure_percentage_is_an_average() -> None:
    values = {
        event_of(FILTERS[name]["FilterPattern"]): transformation(name)["MetricValue"]
        for name in FILTERS
        if transformation(name)["MetricName"] == "FailedPercent"
    }
    assert values == {"record_failed": "100", "record_complete": "0"}
    assert ALARMS["TooManyFail"]["Statistic"] == "Average"


def test_alarms_and_dashboard_use_only_existing_metrics() -> None:
    metrics = {transformation(name)["MetricName"] for name in FILTERS}
    ours = {each["MetricName"] for each in ALARMS.values() if each["Namespace"] == "Namespace"}
    shown = set(metrics_shown())
    assert ours <= metrics
    assert shown <= metrics
    assert metrics - shown == {"FailedPercent"}


def metrics_shown() -> Iterator[str]:
    """Metrics of clipflow on the dashboard, where `.` repeats the value of the line before."""
    (dashboard,) = resources("alarms", "AWS::CloudWatch::Dashboard").values()
    widgets: list[dict[str, Any]] = json.loads(dashboard["DashboardBody"])["widgets"]
    for widget in widgets:
        namespace = ""
        for namespace_or_dots, *rest in widget["properties"].get("metrics", []):
            namespace = namespace if namespace_or_dots[0] == "." else namespace_or_dots
            if namespace == "${Namespace}" and namespace_or_dots != "...":
                yield rest[0]


def test_dashboard_queries_use_only_fields_that_are_logged() -> None:
    queries = re.findall(r"filter event = '(\w+)' \| stats (.*?) by ([\w, ]+)", written("alarms"))
    assert [event for event, _, _ in queries] == ["record_failed", "segment_made"]
    for event, counted, by in queries:
        fields = {*re.findall(r"\((\w+)\)", counted), *re.findall(r"\w+", by)}
        assert fields <= MEASURED["FlowsLogGroup"][event]
