"""Each alarm goes off in the outage that it is for, and in no other case.

The log lines are those of the product; filters and alarms are read from the templates.
"""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clipflow.telemetry.logging import (
    LAUNCH_REFUSED,
    PREFECT_CHECKED,
    PREFECT_FAILED,
    RECORD_COMPLETE,
    RECORD_FAILED,
    SWEEP_ENDED,
    WARM_CHECKED,
    JsonFormatter,
    MetricEvent,
    emit_metric,
)
from tests.infra.cloudwatch import ALARMS, OWN_NAMESPACE, Metric, is_in_alarm, points_of_lines

NOW = 1_000_000.0
MINUTE, HOUR = 60.0, 3600.0
POOLS = ("orchestrate", "media", "prepare", "marks")
SWEPT = {"started_again": 0, "marked": 0}
CLIP = {"job": "clips"}


@pytest.fixture
def line(caplog: pytest.LogCaptureFixture) -> Callable[..., dict[str, Any]]:
    """A function that emits a metric event and returns the fields of its log line."""
    caplog.set_level(logging.INFO, "clipflow.measures")

    def emitted(metric: MetricEvent, **values: Any) -> dict[str, Any]:
        emit_metric(metric, "a line", **values)
        return dict(json.loads(JsonFormatter(lambda _: {}).format(caplog.records[-1])))

    return emitted


class Account:
    """The points of all metrics, which log lines and queues add."""

    def __init__(self, line: Callable[..., dict[str, Any]]) -> None:
        self.points: dict[Metric, list[tuple[float, float]]] = {}
        self._line = line

    def logs(self, group: str, metric: MetricEvent, times: Iterator[float], **values: Any) -> None:
        lines = [(at, self._line(metric, **values)) for at in times]
        for name, points in points_of_lines(group, lines).items():
            self.points.setdefault(name, []).extend(points)

    def flows(self, metric: MetricEvent, times: Iterator[float], **values: Any) -> None:
        self.logs("FlowsLogGroup", metric, times, **values)

    def bridge(self, metric: MetricEvent, times: Iterator[float], **values: Any) -> None:
        self.logs("BridgeLogGroup", metric, times, **values)

    def queue(self, name: str, metric: str, times: Iterator[float], value: float) -> None:
        points = self.points.setdefault(("AWS/SQS", metric, (name,)), [])
        points.extend((at, value) for at in times)

    def alarms(self) -> set[str]:
        """The names of the alarms that are in the state ALARM."""
        return {name for name in ALARMS if is_in_alarm(name, self.points, NOW)}


def every(seconds: float, since: float = 4 * HOUR, until: float = 0) -> Iterator[float]:
    """Times at this interval, from `since` to `until` seconds before NOW."""
    return iter([NOW - at for at in _down(since, until, seconds)])


def _down(since: float, until: float, step: float) -> Iterator[float]:
    at = since - step / 2
    while at >= until:
        yield at
        at -= step


@pytest.fixture
def account(line: Callable[..., dict[str, Any]]) -> Account:
    """An account in which only the bridge runs, and reports that nothing is wrong."""
    made = Account(line)
    made.bridge(SWEEP_ENDED, every(MINUTE), in_progress=0, oldest_seconds=0, **SWEPT)
    made.bridge(PREFECT_CHECKED, every(MINUTE), late_seconds=0, pools_without_worker=0)
    return made


def test_no_alarm_goes_off_while_nothing_is_wrong(account: Account) -> None:
    assert account.alarms() == set()
    account.flows(RECORD_COMPLETE, every(MINUTE), **CLIP, seconds=30, bytes=1)
    account.queue("QueueName", "ApproximateAgeOfOldestMessage", every(MINUTE), 10)
    for pool in POOLS:
        queue = f"clipflow-{pool}-ecs-events"
        account.queue(queue, "ApproximateAgeOfOldestMessage", every(MINUTE), 2)
        account.queue(f"{queue}-dlq", "ApproximateNumberOfMessagesVisible", every(MINUTE), 0)
    assert account.alarms() == set()


def test_failing_clips_raise_an_alarm_at_one_clip_an_hour(account: Account) -> None:
    account.flows(RECORD_COMPLETE, every(HOUR, 24 * HOUR, 2 * HOUR), **CLIP, seconds=30, bytes=1)
    account.flows(RECORD_FAILED, every(HOUR, 2 * HOUR), **CLIP, code="STORAGE_ERROR")
    assert account.alarms() == {"TooManyFail"}


def test_failing_clips_raise_an_alarm_within_half_an_hour_at_one_clip_a_minute(
    account: Account,
) -> None:
    outage = 26 * MINUTE
    account.flows(RECORD_COMPLETE, every(MINUTE, 4 * HOUR, outage), **CLIP, seconds=30, bytes=1)
    account.flows(RECORD_FAILED, every(MINUTE, outage), job="shorts", code="FFMPEG_ERROR")
    assert account.alarms() == {"TooManyFail"}


def test_lost_runs_count_as_failures(account: Account) -> None:
    account.bridge(RECORD_FAILED, every(10 * MINUTE, HOUR), **CLIP, code="CRASHED")
    assert account.alarms() == {"TooManyFail"}


def test_a_single_failure_raises_no_alarm(account: Account) -> None:
    account.flows(RECORD_FAILED, every(HOUR, HOUR), **CLIP, code="FFMPEG_ERROR")
    assert account.alarms() == set()


def test_one_failure_in_ten_raises_no_alarm(account: Account) -> None:
    account.flows(RECORD_COMPLETE, every(MINUTE), **CLIP, seconds=30, bytes=1)
    account.flows(RECORD_FAILED, every(10 * MINUTE), **CLIP, code="FFMPEG_ERROR")
    assert account.alarms() == set()


def test_a_stuck_record_raises_an_alarm(account: Account) -> None:
    account.bridge(SWEEP_ENDED, every(MINUTE), in_progress=1, oldest_seconds=8000, **SWEPT)
    assert account.alarms() == {"InProgressTooLong"}


def test_a_bridge_that_does_not_run_raises_an_alarm(line: Callable[..., dict[str, Any]]) -> None:
    silent = Account(line)
    silent.bridge(
        SWEEP_ENDED, every(MINUTE, 4 * HOUR, 16 * MINUTE), in_progress=0, oldest_seconds=0, **SWEPT
    )
    assert silent.alarms() == {"BridgeIsSilent"}


def test_waiting_events_and_dead_letters_raise_alarms(account: Account) -> None:
    account.queue("QueueName", "ApproximateAgeOfOldestMessage", every(MINUTE), 400)
    assert account.alarms() == {"EventsWait"}
    account.queue("DeadLetterQueueName", "ApproximateNumberOfMessagesVisible", every(MINUTE), 1)
    assert account.alarms() == {"EventsWait", "EventsAreDead"}


def test_late_runs_raise_an_alarm(account: Account) -> None:
    account.bridge(PREFECT_CHECKED, every(MINUTE), late_seconds=1900, pools_without_worker=0)
    assert account.alarms() == {"RunsAreLate"}


def test_a_pool_without_a_worker_raises_an_alarm_and_a_restarting_worker_does_not(
    line: Callable[..., dict[str, Any]],
) -> None:
    account = Account(line)
    account.bridge(SWEEP_ENDED, every(MINUTE), in_progress=0, oldest_seconds=0, **SWEPT)
    without = {"late_seconds": 0, "pools_without_worker": 1}
    account.bridge(PREFECT_CHECKED, every(MINUTE, 10 * MINUTE), **without)
    assert account.alarms() == {"NoWorkerOnline"}
    account.bridge(PREFECT_CHECKED, every(MINUTE, MINUTE), late_seconds=0, pools_without_worker=0)
    assert account.alarms() == set()


def test_a_prefect_server_that_does_not_respond_raises_an_alarm(account: Account) -> None:
    account.bridge(PREFECT_FAILED, every(MINUTE, 10 * MINUTE), reason="no answer")
    assert account.alarms() == {"PrefectFails"}


def test_a_prefect_server_that_restarts_raises_no_alarm(account: Account) -> None:
    account.bridge(PREFECT_FAILED, every(MINUTE, 3 * MINUTE), reason="no answer")
    assert account.alarms() == set()


def test_refused_launches_raise_an_alarm_if_they_continue(account: Account) -> None:
    refusals = {"pool": "clipflow-media", "reason": "Capacity is unavailable"}
    account.flows(LAUNCH_REFUSED, every(MINUTE, 10 * MINUTE), **refusals)
    assert account.alarms() == set()
    account.flows(LAUNCH_REFUSED, every(MINUTE, 30 * MINUTE), **refusals)
    assert account.alarms() == {"LaunchesAreRefused"}


@pytest.mark.parametrize("pool", POOLS)
def test_each_observer_that_lags_or_fails_raises_an_alarm(account: Account, pool: str) -> None:
    queue = f"clipflow-{pool}-ecs-events"
    account.queue(queue, "ApproximateAgeOfOldestMessage", every(MINUTE), 400)
    assert account.alarms() == {"ObserversLag"}
    account.queue(f"{queue}-dlq", "ApproximateNumberOfMessagesVisible", every(MINUTE), 1)
    assert account.alarms() == {"ObserversLag", "ObserversFail"}


def test_every_alarm_is_tested() -> None:
    assert set(ALARMS) == {
        "TooManyFail",
        "InProgressTooLong",
        "BridgeIsSilent",
        "EventsWait",
        "EventsAreDead",
        "RunsAreLate",
        "NoWorkerOnline",
        "PrefectFails",
        "LaunchesAreRefused",
        "RunsWait",
        "RunsWaitForLong",
        "MachinesAreIdle",
        "ObserversLag",
        "ObserversFail",
    }
    assert {metric["Namespace"] for metric in ALARMS.values() if "Namespace" in metric} == {
        OWN_NAMESPACE,
        "AWS/SQS",
    }


def test_the_number_of_warm_machines_follows_the_runs_that_wait(account: Account) -> None:
    at_rest = {"waiting": 0, "wait_seconds": 0, "idle": 0}
    account.bridge(WARM_CHECKED, every(20, 10 * MINUTE, 2 * MINUTE), **at_rest)
    assert account.alarms() == set()
    account.bridge(WARM_CHECKED, every(20, 2 * MINUTE), waiting=1, wait_seconds=40, idle=0)
    assert account.alarms() == {"RunsWait"}
    account.bridge(WARM_CHECKED, every(20, MINUTE), waiting=5, wait_seconds=310, idle=0)
    assert account.alarms() == {"RunsWait", "RunsWaitForLong"}


def test_a_warm_machine_stops_only_if_one_has_been_idle_all_the_time(account: Account) -> None:
    at_rest = {"waiting": 0, "wait_seconds": 0}
    account.bridge(WARM_CHECKED, every(20, 20 * MINUTE), **at_rest, idle=1)
    assert account.alarms() == {"MachinesAreIdle"}
    account.bridge(WARM_CHECKED, every(20, 8 * MINUTE, 7 * MINUTE), **at_rest, idle=0)
    assert account.alarms() == set()
