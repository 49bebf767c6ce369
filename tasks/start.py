"""Starting one flow run per clip."""

from typing import Any, cast
from uuid import UUID

from prefect import task
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from clipflow.domain.clips import ClipRequest
from clipflow.storage.records import record_store
from tasks.retries import RECORDS

GENERATE_CLIP = "generate-clip/clipflow"


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
    started = run_deployment(
        GENERATE_CLIP,
        parameters=parameters,
        flow_run_name=clip.clip_id,
        idempotency_key=f"{asked_by}:{clip.clip_id}",
        timeout=0,
        as_subflow=False,
    )
    # Its type is that of both its uses; outside an event loop it gives the run itself.
    return cast(FlowRun, started).id
