"""Starting one flow run per clip."""

from typing import Any, cast
from uuid import UUID

from prefect import get_client, task
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from clipflow.domain.clips import ClipRequest
from clipflow.domain.keys import ClipKeys
from clipflow.storage.records import record_store
from tasks.child_runs import ALIVE
from tasks.jobs import GENERATE_CLIP, tags_of
from tasks.retries import RECORDS

# Of what a tenant waits for beyond so many clips, others' go first; where there are no others,
# nothing waits for that.
SHARE = 4
BULK = "bulk"


@task(name="list-due-clips", task_run_name="list due clips", **RECORDS)
def list_due_clips(tenant_id: str, episode_id: str) -> list[ClipRequest]:
    """The episode's clips that are detected, pending or failed."""
    due = record_store().due_clips(tenant_id, episode_id)
    return [ClipRequest(clip_id=clip_id) for clip_id in due]


@task(name="start-clip", task_run_name="start {clip.clip_id}", **RECORDS)
def start_clip(
    tenant_id: str, episode_id: str, clip: ClipRequest, asked_by: str, force: bool
) -> UUID:
    """The flow run that makes `clip`; asked again by the same event it is the same run."""
    parameters: dict[str, Any] = {
        "tenant_id": tenant_id,
        "episode_id": episode_id,
        **clip.model_dump(mode="json", by_alias=False, exclude_none=True, exclude={"segments"}),
        "force": force,
    }
    if clip.segments:
        parameters["segments"] = [
            s.model_dump(mode="json", exclude_none=True) for s in clip.segments
        ]
    tenant = f"tenant:{tenant_id}"
    started = run_deployment(
        f"{GENERATE_CLIP}/clipflow",
        parameters=parameters,
        flow_run_name=clip.clip_id,
        tags=tags_of(ClipKeys(tenant_id, episode_id, clip.clip_id)),
        idempotency_key=f"{asked_by}:{clip.clip_id}",
        work_queue_name=BULK if _has_its_share(tenant) else None,
        timeout=0,
        as_subflow=False,
    )
    # Its type is that of both its uses; outside an event loop it gives the run itself.
    return cast(FlowRun, started).id


def _has_its_share(tenant: str) -> bool:
    waiting = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[tenant]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ALIVE)),
    )
    with get_client(sync_client=True) as client:
        return len(client.read_flow_runs(flow_run_filter=waiting, limit=SHARE)) == SHARE
