"""The flows that cut one or several segments of a clip, usually on another machine."""

from typing import Annotated, Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from clipflow.domain.keys import ClipKeys
from clipflow.domain.model import Identifier
from clipflow.machine import cores
from tasks.child_requests import cut_of_child
from tasks.clips import extract_segment as extract
from tasks.fan_out import extract_here, local_concurrency
from tasks.flow_runs import NO_RESULTS
from tasks.recovery import cancel_if_orphaned


@flow(name="extract-segment", **NO_RESULTS)
def extract_segment(
    tenant_id: Identifier,
    episode_id: Identifier,
    clip_id: Identifier,
    segment: dict[str, Any],
    index: Annotated[int, Field(ge=0)],
    plan: dict[str, Any],
    force: bool = False,
) -> None:
    """Cut segment `index` of a clip by the plan of the clip's run, and store it.

    Args:
        tenant_id: The tenant.
        episode_id: The episode.
        clip_id: The clip.
        segment: The times to cut, as `{"startTime": "00:01:00", "endTime": "00:01:30"}`.
        index: Its place in play order, from 0.
        plan: The plan of the clip's run: the source, its format and that of the segment.
        force: Make the segment again even if one from the same inputs exists.
    """
    keys = ClipKeys(tenant_id, episode_id, clip_id)
    cut = cut_of_child(keys, segment, index, plan)
    with cancel_if_orphaned(keys):
        extract(cut, cores(), force)


@flow(
    name="extract-segments",
    task_runner=ThreadPoolTaskRunner(max_workers=local_concurrency()),  # type: ignore[arg-type]
    **NO_RESULTS,
)
def extract_segments(
    tenant_id: Identifier,
    episode_id: Identifier,
    clip_id: Identifier,
    cuts: list[dict[str, Any]],
    force: bool = False,
) -> None:
    """Cut several segments of a clip, and store each of them.

    Args:
        tenant_id: The tenant.
        episode_id: The episode.
        clip_id: The clip.
        cuts: For each segment its `segment`, `index` and `plan`, as for `extract-segment`.
        force: Make the segments again even if those from the same inputs exist.
    """
    keys = ClipKeys(tenant_id, episode_id, clip_id)
    group = [cut_of_child(keys, **cut) for cut in cuts]
    with cancel_if_orphaned(keys):
        extract_here(group, force=force)
