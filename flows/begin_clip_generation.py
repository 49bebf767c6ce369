"""From one event to one run per clip."""

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from clipflow.domain.clips import BeginClipGeneration
from clipflow.domain.model import Identifier
from tasks.start import list_due_clips, start_clip


@flow(name="begin-clip-generation", flow_run_name="{episode_id}")
def begin_clip_generation(
    tenant_id: Identifier,
    episode_id: Identifier,
    clips: list[dict[str, Any]] | None = None,
    event_id: str | None = None,
    force: bool = False,
) -> State[Any]:
    """Start making the clips of an episode: those given, or all that are due.

    The same `event_id` never starts a clip twice.
    """
    detail = {"tenantId": tenant_id, "episodeId": episode_id, "clips": clips}
    asked = BeginClipGeneration.read(detail, "the request")
    due = list_due_clips(tenant_id, episode_id) if asked.clips is None else asked.clips
    if not due:
        return Completed(name="NothingToGenerate", message=f"{episode_id} has no clip to make.")
    asked_by = event_id or str(runtime.flow_run.get_id())
    # One after the other: many at once would only fight over the Prefect server's database.
    for clip in due:
        start_clip(tenant_id, episode_id, clip, asked_by, force)
    return Completed(message=f"{len(due)} clips started.")
