"""Progress artifacts of a run, which the Prefect UI shows on the page of the run."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, get_client, task
from prefect.artifacts import update_progress_artifact
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact, State

from clipflow.domain.errors import MediaRefusedError
from clipflow.telemetry.progress import report
from tasks.run_page import ProgressBar, count_bar, progress_bar
from tests.programs import eventually

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]


def run_task(work: Callable[[], None]) -> tuple[State[Any], UUID]:
    """Run a flow with one task that calls `work`, and return its final state and its id."""

    @task
    def step() -> None:
        work()

    @flow
    def job() -> None:
        step()

    state = job(return_state=True)
    assert state.state_details.flow_run_id
    return state, state.state_details.flow_run_id


def progress_artifacts(run: UUID) -> list[Artifact]:
    """The progress artifacts of the run, without the artifact that Prefect creates for an error."""
    with get_client(sync_client=True) as client:
        only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        found = client.read_artifacts(artifact_filter=only)
        return [one for one in found if one.type == "progress"]


def work_for(seconds: float, up_to: float = 1.0) -> None:
    """Report progress up to `up_to`, much more often than a bar is updated."""
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        report(up_to * elapsed / seconds)
        time.sleep(0.001)


def test_a_bar_moves_at_most_once_a_second_and_is_full_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    percents: list[float] = []

    def record(artifact: UUID, percent: float, words: str) -> Any:
        percents.append(percent)
        return update_progress_artifact(artifact, percent, words)

    monkeypatch.setattr("tasks.run_page.update_progress_artifact", record)

    def work() -> None:
        with progress_bar("transcript", "what is said in video talk"):
            work_for(3.5)

    state, run = run_task(work)
    assert state.is_completed()
    [bar] = progress_artifacts(run)
    assert (bar.key, bar.data, bar.description) == ("transcript", 100, "what is said in video talk")
    assert bar.task_run_id
    assert len(percents) <= 3 and percents[-1] == 100 and percents == sorted(percents)


def test_the_bar_of_long_work_moves_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, now = list[float](), 0.0

    class Clock:
        """Instead of the event that ends the bar: time passes only while it is waited for."""

        def wait(self, seconds: float) -> bool:
            nonlocal now
            now += seconds
            waits.append(seconds)
            return now > 600

        def set(self) -> None:
            pass

    monkeypatch.setattr(time, "monotonic", lambda: now)
    bar = ProgressBar("segment", "segment 0")
    monkeypatch.setattr(bar, "_ended", Clock())
    monkeypatch.setattr(bar, "_put", lambda: None)
    bar.run()
    assert waits[:4] == [2, 1, 1, 1] and waits == [2, *sorted(waits[1:])]
    assert len(waits) < 60 and max(waits) == 15


def test_short_work_has_no_bar() -> None:
    def work() -> None:
        with progress_bar("segment", "segment 0"):
            report(0.5)

    assert progress_artifacts(run_task(work)[1]) == []


def test_the_bar_of_failed_work_keeps_its_value() -> None:
    def work() -> None:
        with progress_bar("segment", "segment 0"):
            work_for(3, up_to=0.4)
            raise MediaRefusedError("No frames.")

    state, run = run_task(work)
    [bar] = progress_artifacts(run)
    assert state.is_failed() and 0 < float(str(bar.data)) <= 40


def test_work_continues_when_its_bar_cannot_be_stored() -> None:
    def work() -> None:
        # The server rejects this key.
        with progress_bar("No Key", "segment 0"):
            work_for(3)

    state, run = run_task(work)
    assert state.is_completed() and progress_artifacts(run) == []
    only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
    with get_client(sync_client=True) as client:

        def warnings() -> int:
            logs = client.read_logs(only)
            return sum("The progress of No Key is not shown" in log.message for log in logs)

        eventually(lambda: warnings() == 1)


def test_a_bar_of_parts_describes_how_many_are_done() -> None:
    def work() -> None:
        with count_bar(3, "segments") as advance:
            advance()
            advance()
            time.sleep(2.5)
            advance()

    [bar] = progress_artifacts(run_task(work)[1])
    assert (bar.key, bar.data, bar.description) == ("segments", 100, "3 of 3 segments")
