"""Queries to Prefect about jobs: their runs, the steps of a run, and the progress of a step."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, StateType, TaskRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ClipKeys, ShortsKeys
from deployments.command.files import read_record
from deployments.command.output import one_line
from tasks.dispatch import clip_run_key
from tasks.flow_runs import GENERATE_CLIP, GENERATE_SHORTS, job_of, record_of, tags_of

Item = TypeVar("Item")

# The maximum number of rows in one response of Prefect's server.
_PAGE = 200
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Step:
    """One task run. `progress` is in per cent; None if the task reports no progress."""

    id: UUID
    run_id: UUID
    name: str
    state: StateType | None
    progress: float | None = None

    @property
    def is_over(self) -> bool:
        return self.state in _FINAL

    @property
    def is_running(self) -> bool:
        return self.state == StateType.RUNNING

    @property
    def is_made(self) -> bool:
        return self.state == StateType.COMPLETED


_FINAL = {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}


def steps_of(client: SyncPrefectClient, runs: Sequence[UUID]) -> list[Step]:
    """The task runs of these runs and of their child runs, in the order in which they ended.

    A task run that only waits for a child run is omitted, because the child's steps are included.
    """
    if not runs:
        return []
    own = list(_task_runs(client, runs))
    children = list(_child_runs(client, runs))
    waiting = {child.parent_task_run_id for child in children}
    # A step of a child run is assigned to the parent run.
    run_of = {task.id: task.flow_run_id for task in own}
    owners = {
        child.id: owner
        for child in children
        if child.parent_task_run_id and (owner := run_of.get(child.parent_task_run_id))
    }
    tasks = sorted([*own, *_task_runs(client, list(owners))], key=_end_and_start)
    progress = _progress(client, [*runs, *owners])
    return [
        Step(task.id, owners.get(run, run), task.name, task.state_type, progress.get(task.id))
        for task in tasks
        if (run := task.flow_run_id) and task.id not in waiting
    ]


def runs_of_event(
    client: SyncPrefectClient, event_id: str, clips: Sequence[str]
) -> dict[str, FlowRun]:
    """The runs that an event has started so far, by clip id."""
    keys = {clip_run_key(event_id, clip): clip for clip in clips}
    found = {}
    for batch in _batches(list(keys)):
        chosen = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=batch))
        for run in client.read_flow_runs(flow_run_filter=chosen):
            found[keys[str(run.idempotency_key)]] = run
    return found


def cancel_unstarted_clips(
    client: SyncPrefectClient, event_id: str, clips: Sequence[ClipKeys]
) -> None:
    """Prevents an event that is not yet processed from starting runs for these clips.

    It creates a cancelled run with each clip's idempotency key, so that the event later finds that
    run instead of starting one. If the event has already started the run, nothing changes.
    """
    deployment = client.read_deployment_by_name(job_of(clips[0]).deployment)
    for keys in clips:
        client.create_flow_run_from_deployment(
            deployment.id,
            parameters=job_of(keys).parameters,
            state=Cancelled(message="Ctrl-C, before its event had started it"),
            name=keys.clip_id,
            tags=tags_of(keys),
            idempotency_key=clip_run_key(event_id, keys.clip_id),
        )


def recent_runs(client: SyncPrefectClient, count: int) -> list[tuple[str, FlowRun]]:
    """The last runs of both jobs with their flow's name, newest first."""
    jobs = FlowFilter(name=FlowFilterName(any_=[GENERATE_CLIP, GENERATE_SHORTS]))
    names = {flow.id: flow.name for flow in client.read_flows(flow_filter=jobs)}
    newest = FlowRunSort.EXPECTED_START_TIME_DESC

    def page(offset: int) -> list[FlowRun]:
        limit = min(_PAGE, count - offset)
        if limit <= 0:
            return []
        return client.read_flow_runs(flow_filter=jobs, sort=newest, limit=limit, offset=offset)

    return [(names[run.flow_id], run) for run in _paged(page) if run.flow_id in names]


def _end_and_start(task: TaskRun) -> tuple[datetime, datetime]:
    """The sort key of steps: those that have not ended, or not started, come last."""
    return task.end_time or _LAST, task.start_time or _LAST


def _child_runs(client: SyncPrefectClient, runs: Sequence[UUID]) -> Iterator[FlowRun]:
    """The child runs of these runs."""
    for batch in _batches(runs):
        chosen = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=batch))

        def page(offset: int, chosen: FlowRunFilter = chosen) -> list[FlowRun]:
            return client.read_flow_runs(flow_run_filter=chosen, limit=_PAGE, offset=offset)

        yield from _paged(page)


def _task_runs(client: SyncPrefectClient, runs: Sequence[UUID]) -> Iterator[TaskRun]:
    for batch in _batches(runs):
        chosen = FlowRunFilter(id=FlowRunFilterId(any_=batch))

        def page(offset: int, chosen: FlowRunFilter = chosen) -> list[TaskRun]:
            return client.read_task_runs(flow_run_filter=chosen, limit=_PAGE, offset=offset)

        yield from _paged(page)


def _progress(client: SyncPrefectClient, runs: Sequence[UUID]) -> dict[UUID, float]:
    """The progress in per cent, by task run, for each task run with a progress artifact."""
    found = {}
    for batch in _batches(runs):
        chosen = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=batch),
            type=ArtifactFilterType(any_=["progress"]),
        )
        for artifact in client.read_artifacts(artifact_filter=chosen):
            if artifact.task_run_id and isinstance(artifact.data, int | float):
                found[artifact.task_run_id] = float(artifact.data)
    return found


def _paged(page: Callable[[int], list[Item]]) -> Iterator[Item]:
    offset = 0
    while items := page(offset):
        yield from items
        offset += len(items)
        if len(items) < _PAGE:
            return


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), _PAGE):
        yield list(items[start : start + _PAGE])


_SHORT_ID = 8
# The number of recent jobs that are searched for a name or the beginning of an id.
_SEARCHED = 200
_AGES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True)
class JobRun:
    """One run of a job, and the keys of its record."""

    run: FlowRun
    keys: ShortsKeys | ClipKeys

    @property
    def id(self) -> str:
        """The beginning of the run's id, which is enough to distinguish it from others."""
        return str(self.run.id)[:_SHORT_ID]

    @property
    def kind(self) -> str:
        return "clip" if isinstance(self.keys, ClipKeys) else "shorts"

    @property
    def name(self) -> str:
        return self.keys.clip_id if isinstance(self.keys, ClipKeys) else self.keys.video_id

    @property
    def state(self) -> str:
        return self.run.state_name or "Unknown"

    @property
    def has_failed(self) -> bool:
        state = self.run.state
        return state is not None and state.is_final() and not state.is_completed()

    def failure(self, record: Mapping[str, Any]) -> str:
        """Why it failed and what to do, on one line; empty if it has not failed.

        This is the record's message if this run wrote it, otherwise the message of Prefect's state.
        """
        if not self.has_failed:
            return ""
        recorded = record.get("processingError", {}).get("message")
        is_of_this_run = record.get("flowRunId") == str(self.run.id)
        state = self.run.state.message if self.run.state else None
        return one_line(recorded if recorded and is_of_this_run else state or self.state)

    def document(self, steps: Sequence[Step], failure: str) -> dict[str, Any]:
        """The job in JSON. Times are ISO 8601, the age is in seconds."""
        return {
            "id": self.id,
            "runId": str(self.run.id),
            "job": self.kind,
            "name": self.name,
            "record": self.keys.record,
            "state": self.state,
            "steps": {"done": count_done(steps), "of": len(steps)},
            "ageSeconds": round(self.age(datetime.now(UTC))),
            "failure": failure or None,
        }

    def age(self, now: datetime) -> float:
        """Seconds since its end, or, if it has not ended, since its start or expected start."""
        since = self.run.end_time or self.run.start_time or self.run.expected_start_time
        return max(0.0, (now - since).total_seconds()) if since else 0.0


def count_done(steps: Sequence[Step]) -> int:
    return sum(step.is_made for step in steps)


def format_age(seconds: float) -> str:
    """Formats an age in its largest unit only: `45 s`, `12 min`, `3 h`, `2 d`."""
    for length, unit in _AGES:
        if seconds >= length:
            return f"{math.floor(seconds / length)} {unit}"
    return "0 s"


def recent_jobs(client: SyncPrefectClient, count: int) -> list[JobRun]:
    """The last jobs, newest first."""
    found = [_job_of(flow, run) for flow, run in recent_runs(client, count)]
    return [job for job in found if job]


def find_job(client: SyncPrefectClient, name_or_id: str) -> JobRun:
    """Finds a job by its run's id, the beginning of that id, or the name of its clip or video.

    If several jobs match, it returns the newest. Raises InvalidInputError if there is none.
    """
    try:
        run = client.read_flow_run(UUID(name_or_id))
        job = _job_of(client.read_flow(run.flow_id).name, run)
        if job:
            return job
    except (ValueError, ObjectNotFound):
        for job in recent_jobs(client, _SEARCHED):
            if name_or_id == job.name or str(job.run.id).startswith(name_or_id.lower()):
                return job
    raise InvalidInputError(
        f"There is no job {name_or_id}.", "`clipflow status` lists the last ones."
    )


def record_if_failed(job: JobRun) -> dict[str, Any]:
    """The record of a failed job, which has the reason; empty for any other job."""
    return read_record(job.keys) if job.has_failed else {}


def _job_of(flow: str, run: FlowRun) -> JobRun | None:
    keys = record_of(flow, run.parameters)
    return JobRun(run, keys) if isinstance(keys, ShortsKeys | ClipKeys) else None
