"""One segment of a clip, on a machine of its own."""

from typing import Any

from prefect import flow

from clipflow.domain.keys import ClipKeys
from clipflow.domain.model import Identifier
from clipflow.machine import cores
from tasks.clips import extract_segment as extract
from tasks.elsewhere import cut_asked_for
from tasks.ownership import while_wanted


@flow(name="extract-segment")
def extract_segment(
    tenant_id: Identifier,
    episode_id: Identifier,
    clip_id: Identifier,
    segment: dict[str, Any],
    index: int,
    plan: dict[str, Any],
    force: bool = False,
) -> None:
    """Put segment `index` of a clip, as its run has planned it."""
    asked = {"tenant_id": tenant_id, "episode_id": episode_id, "clip_id": clip_id}
    cut = cut_asked_for({**asked, "segment": segment, "index": index}, plan)
    with while_wanted(ClipKeys(tenant_id, episode_id, clip_id)):
        extract(cut, cores(), force)
