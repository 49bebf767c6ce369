"""The flow that makes one clip: Set In Progress, extract, stitch, Set Complete; or Set Failed."""

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from clipflow.domain.clips import ClipRecord, ClipRequest, ClipResult, ClipStatus
from clipflow.domain.keys import ClipKeys
from clipflow.domain.model import AudioTrack, Identifier
from clipflow.settings import limits, settings
from tasks.clips import find_made, find_sources, plan, stitch_segments
from tasks.dispatch import queue_behind, start_queued
from tasks.fan_out import extract_all, run_concurrency
from tasks.flow_runs import GENERATE_CLIP, NO_RESULTS, clip_request
from tasks.records import read_record, set_complete, set_failed, set_in_progress
from tasks.recovery import STATE_HOOKS, stop_if_ended
from tasks.run_page import (
    Posters,
    failure_of,
    identify_run,
    publish_clip_artifacts,
    publish_clip_page,
)


@flow(
    name=GENERATE_CLIP,
    task_runner=ThreadPoolTaskRunner(max_workers=run_concurrency()),  # type: ignore[arg-type]
    timeout_seconds=limits().run_deadline_seconds,
    **NO_RESULTS,
    **STATE_HOOKS,
)
def generate_clip(
    tenant_id: Identifier,
    episode_id: Identifier,
    clip_id: Identifier,
    segments: list[dict[str, Any]] | None = None,
    source_key: str | None = None,
    force: bool = False,
    audio_track: AudioTrack | None = None,
) -> State[Any]:
    """Make one clip from the given segments or those of its record, and update its record.

    Outputs that exist with the same source and times are not made again, unless `force` is set.

    Args:
        tenant_id: The tenant: the first part of the records' `pk`.
        episode_id: The episode: the second part, and the folder of its tracks.
        clip_id: The clip: its record's `sk` is `clip#` and this.
        segments: What to cut, as `{"startTime": "00:01:00", "endTime": "00:01:30"}`, or in
            seconds; also `speaker` and `order`. Default: the segments of its record.
        source_key: The object to cut from. Default: its record's, otherwise the episode's tracks.
        force: Make it again even if it exists with the same source and times.
        audio_track: The source's audio track: a number from 0, or a language such as `en`.
            Default: its record's, otherwise the source's default.
    """
    clip = clip_request(
        {
            "clip_id": clip_id,
            "segments": segments,
            "source_key": source_key,
            "audio_track": audio_track,
        }
    )
    keys = ClipKeys(tenant_id, episode_id, clip_id, settings().key_prefix)
    identify_run(keys, clip_id)
    run_id = str(runtime.flow_run.get_id())

    record = _claimed_record(keys, clip, run_id, force)
    if isinstance(record, State):
        return record
    made = None
    try:
        with stop_if_ended():
            request = record.complete_request(clip)
            result, posters = _make(keys, request, force)
        set_complete(keys, run_id, result)
        made = keys, request
    except Exception as error:  # noqa: BLE001 - any error goes to the record
        failure = failure_of(error)
        set_failed(keys, run_id, failure)
        state: State[Any] = Failed(message=failure.message)
    else:
        publish_clip_artifacts(keys, request, result, posters)
        state = Completed(message=f"{result.s3_key}: {result.duration}, {result.resolution}")
    start_queued(run_id, made)
    return state


def _claimed_record(
    keys: ClipKeys, clip: ClipRequest, run_id: str, force: bool
) -> ClipRecord | State[Any]:
    """The record, as it was when this run claimed it, or the state in which this run ends."""
    queued_behind = None
    while True:
        record = read_record(keys)
        is_complete = record.status == ClipStatus.COMPLETE
        if is_complete and not force and _publish_if_made(keys, record.complete_request(clip)):
            return Completed(name="AlreadyMade", message=f"{keys.clip} is up to date.")
        completed_at = str(record.updated_at) if is_complete else ""
        claim = set_in_progress(keys, run_id, clip.initial_attributes, completed_at)
        if claim.granted:
            return record
        if claim.is_complete:
            continue  # Another run has completed it after it was read.
        if claim.owner in (None, queued_behind):
            message = f"Run {claim.owner} is making it."
            return Completed(name="AlreadyInProgress", message=message)
        # The owner may end before this run is queued, so the claim is tried once more.
        queue_behind(queued_behind := claim.owner)


def _publish_if_made(keys: ClipKeys, clip: ClipRequest) -> bool:
    """Whether the clip exists already; if so, its page is published, which may be missing."""
    made = find_made(find_sources(keys, clip))
    if made:
        posters = publish_clip_page(keys, clip, made)
        publish_clip_artifacts(keys, clip, made, posters)
    return made is not None


def _make(keys: ClipKeys, clip: ClipRequest, force: bool) -> tuple[ClipResult, Posters]:
    """Makes the clip and its page; returns the page's posters, too."""
    sourced = find_sources(keys, clip)
    made = None if force else find_made(sourced)
    if made is None:
        made = stitch_segments(sourced, extract_all(plan(sourced), force=force))
    return made, publish_clip_page(keys, clip, made)
