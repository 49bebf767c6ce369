"""One clip: Set In Progress, map over its segments, stitch, Set Complete; or Set Failed."""

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from clipflow.domain.clips import ClipRequest, ClipResult, ClipStatus
from clipflow.domain.errors import Failure
from clipflow.domain.keys import ClipKeys
from clipflow.domain.model import Identifier
from clipflow.settings import settings
from tasks.clips import find_made, find_sources, plan, stitch_segments
from tasks.fan_out import at_once, extract_all, stop_what_runs_elsewhere
from tasks.status import (
    read_record,
    record_end_without_result,
    set_complete,
    set_failed,
    set_in_progress,
)


def clip_keys(asked: dict[str, Any]) -> ClipKeys:
    """Of the run with these parameters."""
    return ClipKeys(
        asked["tenant_id"], asked["episode_id"], asked["clip_id"], settings().key_prefix
    )


_at_the_end = [record_end_without_result(clip_keys), stop_what_runs_elsewhere(clip_keys)]


@flow(
    name="generate-clip",
    flow_run_name="{clip_id}",
    task_runner=ThreadPoolTaskRunner(max_workers=at_once()),  # type: ignore[arg-type]
    on_crashed=_at_the_end,
    on_cancellation=_at_the_end,
)
def generate_clip(
    tenant_id: Identifier,
    episode_id: Identifier,
    clip_id: Identifier,
    segments: list[dict[str, Any]] | None = None,
    source_key: str | None = None,
    force: bool = False,
) -> State[Any]:
    """Make one clip, from the segments given or those of its record, and keep its record.

    What is already made from the same source and times is not made again, unless `force`.
    """
    asked = {"clipId": clip_id, "segments": segments, "sourceKey": source_key}
    clip = ClipRequest.read(asked, "the clip asked for")
    keys = ClipKeys(tenant_id, episode_id, clip_id, settings().key_prefix)
    run_id = str(runtime.flow_run.get_id())

    record = read_record(keys)
    if record.status == ClipStatus.COMPLETE and not force and _is_made(keys, record.request(clip)):
        return Completed(name="AlreadyMade", message=f"{keys.clip} is up to date.")

    claim = set_in_progress(keys, run_id, clip.brought)
    if not claim.granted:
        return Completed(name="AlreadyInProgress", message=f"Run {claim.owner} is making it.")
    try:
        result = _make(keys, record.request(clip), force)
        set_complete(keys, run_id, result)
    except Exception as error:
        set_failed(keys, run_id, Failure.of(error))
        raise
    return Completed(message=f"{result.s3_key}: {result.duration}, {result.resolution}")


def _is_made(keys: ClipKeys, clip: ClipRequest) -> bool:
    return find_made(find_sources(keys, clip)) is not None


def _make(keys: ClipKeys, clip: ClipRequest, force: bool) -> ClipResult:
    sourced = find_sources(keys, clip)
    made = None if force else find_made(sourced)
    if made:
        return made
    segments = extract_all(plan(sourced), force=force)
    return stitch_segments(sourced, segments)
