"""The steps of the clip job as tasks: find sources, plan, extract, stitch."""

from prefect import task

from clipflow.domain.clips import (
    ClipRequest,
    ClipResult,
    ExtractOutput,
    StitchInput,
    StitchSegment,
)
from clipflow.domain.keys import ClipKeys, main_track_candidates
from clipflow.jobs.clips import (
    Cut,
    SourceChoice,
    SourcedClip,
    assemble,
    extract,
    find_existing_clip,
    plan_cuts,
    source_clip,
)
from clipflow.settings import settings, this_machine
from clipflow.storage.objects import object_store
from clipflow.storage.records import record_store
from tasks.retries import MEDIA, RECORDS
from tasks.run_page import progress_bar


@task(name="find-sources", task_run_name="find sources", **RECORDS)
def find_sources(keys: ClipKeys, clip: ClipRequest) -> SourcedClip:
    """Finds the source of each segment; returns the segments in play order."""
    choice = SourceChoice(
        clip.source_key,
        record_store().tracks(keys.tenant_id, keys.episode_id),
        main_track_candidates(keys.tenant_id, keys.episode_id, settings().key_prefix),
        clip.audio_track,
    )
    return source_clip(keys, clip.segments or [], choice, object_store())


@task(name="find-made", task_run_name="look for the finished clip", **RECORDS)
def find_made(clip: SourcedClip) -> ClipResult | None:
    """The finished clip, if it was made from the same sources and times; else None."""
    return find_existing_clip(clip, object_store())


@task(name="plan", task_run_name="plan", **MEDIA)
def plan(clip: SourcedClip) -> list[Cut]:
    """Plans the cut of each segment, and the format that all segments share."""
    return plan_cuts(clip, object_store())


@task(name="extract-segment", task_run_name="extract {cut.label}", **MEDIA)
def extract_segment(cut: Cut, threads: int, force: bool) -> ExtractOutput:
    """Cuts one segment, exact to the frame, and stores it."""
    with progress_bar("segment", f"segment {cut.label}"):
        return extract(cut, object_store(), this_machine(threads), force=force)


@task(name="stitch", task_run_name="stitch", **MEDIA)
def stitch_segments(clip: SourcedClip, segments: list[ExtractOutput]) -> ClipResult:
    """Stitches the segments, and stores the clip."""
    request = StitchInput(
        tenant_id=clip.keys.tenant_id,
        episode_id=clip.keys.episode_id,
        clip_id=clip.keys.clip_id,
        segments=[
            StitchSegment(segment_file=s.segment_file, metadata=s.metadata) for s in segments
        ],
    )
    with progress_bar("stitch", f"{clip.keys.label} of {len(segments)} segments"):
        return assemble(request, clip, object_store(), this_machine())
