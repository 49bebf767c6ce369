"""Starting one flow run per clip."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from prefect import get_client, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed

from clipflow.domain.clips import BeginClipGeneration, ClipRequest
from clipflow.domain.keys import ClipKeys
from clipflow.storage.records import record_store
from tasks.child_runs import ALIVE
from tasks.jobs import GENERATE_CLIP, tags_of
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
