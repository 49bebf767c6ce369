"""One flow run per clip, also for the events whose own run still waits for a process."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import choice
from typing import Any, Self
from uuid import UUID

import httpx
from prefect import get_client, get_run_logger, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Completed

from clipflow.domain.clips import BeginClipGeneration, ClipRequest
from clipflow.domain.keys import ClipKeys
from clipflow.storage.records import record_store
from tasks.children import ALIVE
from tasks.flow_runs import GENERATE_CLIP, asked_for, tags_of, this_run
from tasks.retries import RECORDS
from tasks.telemetry import trace_labels

# Of what a tenant waits for beyond so many clips, others' go first; where there are no others,
# nothing waits for that.
SHARE = 4
BULK = "bulk"


@dataclass(frozen=True)
class Asker:
    """For whom clips are started.

    Attributes:
        id: the event's, or else the run's; the same one never starts a clip twice.
        force: whether what is made already is made again.
        labels: what hands the asker's trace on to the runs.
    """

    id: str
    force: bool
    labels: Mapping[str, Any]

    @classmethod
    def of(cls, run: FlowRun) -> Self:
        """The run of `begin-clip-generation`."""
        asked = run.parameters
        by = str(asked.get("event_id") or run.id)
        return cls(by, bool(asked.get("force")), trace_labels(run))


def start_clips(asked: BeginClipGeneration, asker: Asker) -> dict[str, UUID]:
    """The flow run of each clip that is asked for, or due where none is named."""
    where = (asked.tenant_id, asked.episode_id)
    due = list_due_clips(*where) if asked.clips is None else asked.clips
    # One after the other: many at once would only fight over the Prefect server's database.
    return {clip.clip_id: start_clip(*where, clip, asker) for clip in due}


def outcome(asked: BeginClipGeneration, started: Collection[str], how: str = "") -> State[Any]:
    """What a run ends in that was to start these."""
    if not started:
        nothing = f"{asked.episode_id} has no clip to make."
        return Completed(name="NothingToGenerate", message=nothing)
    return Completed(message=f"{len(started)} clips started{how}.")


@task(name="list-due-clips", task_run_name="list due clips", **RECORDS)
def list_due_clips(tenant_id: str, episode_id: str) -> list[ClipRequest]:
    """The episode's clips that are detected, pending or failed."""
    due = record_store().due_clips(tenant_id, episode_id)
    return [ClipRequest(clip_id=clip_id) for clip_id in due]


@task(name="start-clip", task_run_name="start {clip.clip_id}", **RECORDS)
def start_clip(tenant_id: str, episode_id: str, clip: ClipRequest, asker: Asker) -> UUID:
    """The flow run that makes `clip`; for the same asker it is the same run."""
    parameters: dict[str, Any] = {
        "tenant_id": tenant_id,
        "episode_id": episode_id,
        **clip.model_dump(mode="json", by_alias=False, exclude_none=True, exclude={"segments"}),
        "force": asker.force,
    }
    if clip.segments:
        parameters["segments"] = [
            s.model_dump(mode="json", exclude_none=True) for s in clip.segments
        ]
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"{GENERATE_CLIP}/clipflow")
        return client.create_flow_run_from_deployment(
            deployment.id,
            parameters=parameters,
            name=clip.clip_id,
            tags=tags_of(ClipKeys(tenant_id, episode_id, clip.clip_id)),
            idempotency_key=f"{asker.id}:{clip.clip_id}",
            work_queue_name=BULK if _has_its_share(client, tenant_id) else None,
            labels=dict(asker.labels),
        ).id


def _has_its_share(client: SyncPrefectClient, tenant_id: str) -> bool:
    waiting = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[f"tenant:{tenant_id}"]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ALIVE)),
    )
    return len(client.read_flow_runs(flow_run_filter=waiting, limit=SHARE)) == SHARE


# In one process; and so many are looked at before each.
_MAX_DRAINED = 100
_PAGE = 20


def begin_those_who_wait() -> None:
    """Starts the clips of the other events whose turn has come, and completes their runs.

    A process costs what starting twenty clips does. Nothing is claimed before: the clips are
    started by the keys that their own run would use, so it may as well be taken by its worker
    meanwhile, and one that is left halfway is as it was.
    """
    try:
        tried: set[UUID] = set()
        while len(tried) < _MAX_DRAINED:
            waiting = [run for run in _waiting() if run.id not in tried]
            if not waiting:
                return
            run = choice(waiting)  # another process may be at them, too
            tried.add(run.id)
            # What is wrong with it, its own run will say.
            begin_other(run.id, run.name, return_state=True)
    except httpx.HTTPError as error:
        get_run_logger().warning("Others wait for processes of their own: %s", error)


@task(name="begin-other", task_run_name="begin {name}")
def begin_other(run_id: UUID, name: str) -> None:
    """What that run of this flow would do, if it still waits."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run_id)
        if run.state and run.state.is_scheduled():
            asked = asked_for(run.parameters)
            started = start_clips(asked, Asker.of(run))
            how = f" in the process of {this_run().name}"
            client.set_flow_run_state(run_id, outcome(asked, started, how))


def _waiting() -> list[FlowRun]:
    deployment = this_run().deployment_id
    if deployment is None:
        return []
    due = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC)),
    )
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=due, limit=_PAGE)
