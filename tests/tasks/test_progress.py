"""Progress as the run's own page shows it, from a real Prefect server."""

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
from tasks.run_page import count_bar, progress_bar
from tests.programs import eventually

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]


def run_of(work: Callable[[], None]) -> tuple[State[Any], UUID]:
    """A flow of one task, which works."""

    @task
    def step() -> None:
        work()

    @flow
    def job() -> None:
        step()

    state = job(return_state=True)
    assert state.state_details.flow_run_id
    return state, state.state_details.flow_run_id


def bars(run: UUID) -> list[Artifact]:
    """The run's progress artifacts, without the one that Prefect makes of an error."""
    with get_client(sync_client=True) as client:
        only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        found = client.read_artifacts(artifact_filter=only)
        return [one for one in found if one.type == "progress"]


def work_for(seconds: float, upto: float = 1.0) -> None:
    """Report progress far more often than a bar is updated."""
    began = time.monotonic()
    while (gone := time.monotonic() - began) < seconds:
        report(upto * gone / seconds)
        time.sleep(0.001)


def test_a_bar_moves_once_a_second_and_is_full_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    updated: list[float] = []

    def record(artifact: UUID, percent: float, words: str) -> Any:
        updated.append(percent)
        return update_progress_artifact(artifact, percent, words)

    monkeypatch.setattr("tasks.run_page.update_progress_artifact", record)

    def work() -> None:
        with progress_bar("transcript", "what is said in video talk"):
            work_for(3.5)

    state, run = run_of(work)
    assert state.is_completed()
    [bar] = bars(run)
    assert (bar.key, bar.data, bar.description) == ("transcript", 100, "what is said in video talk")
    assert bar.task_run_id
    assert len(updated) <= 4 and updated[-1] == 100 and updated == sorted(updated)


def test_work_of_less_than_a_second_has_no_bar() -> None:
    def work() -> None:
        with progress_bar("segment", "segment 0"):
            report(0.5)

    assert bars(run_of(work)[1]) == []


def test_the_bar_of_failed_work_keeps_its_value() -> None:
    def work() -> None:
        with progress_bar("segment", "segment 0"):
            work_for(2.5, upto=0.4)
            raise MediaRefusedError("No frames.")

    state, run = run_of(work)
    [bar] = bars(run)
    assert state.is_failed() and 0 < float(str(bar.data)) <= 40


def test_work_continues_when_its_bar_cannot_be_stored() -> None:
    def work() -> None:
        # The server rejects this key.
        with progress_bar("No Key", "segment 0"):
            work_for(2.5)

    state, run = run_of(work)
    assert state.is_completed() and bars(run) == []
    only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
    with get_client(sync_client=True) as client:

        def warnings() -> int:
            logs = client.read_logs(only)
            return sum("The progress of No Key is not shown" in log.message for log in logs)

        eventually(lambda: warnings() == 1)


def test_parts_are_counted_in_words() -> None:
    def work() -> None:
        with count_bar(3, "segments") as advance:
            advance()
            advance()
            time.sleep(1.5)
            advance()

    [bar] = bars(run_of(work)[1])
    assert (bar.key, bar.data, bar.description) == ("segments", 100, "3 of 3 segments")
