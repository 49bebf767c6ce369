"""Making one segment of a clip."""

from clipflow.clips.plan import Cut
from clipflow.domain.clips import ExtractOutput, SegmentMetadata
from clipflow.segments.segment import make_segment
from clipflow.storage.objects import ObjectStore


def extract(
    planned: Cut, objects: ObjectStore, *, threads: int, force: bool = False
) -> ExtractOutput:
    """Make `planned`, unless it is there already. Raises what `make_segment` raises."""
    size = make_segment(planned.plan, objects, threads=threads, force=force)
    return ExtractOutput(
        episode_id=planned.request.episode_id,
        clip_id=planned.request.clip_id,
        segment_file=planned.plan.key,
        metadata=SegmentMetadata(
            duration=float(planned.plan.span.duration),
            file_size=size,
            resolution=planned.plan.form.resolution,
        ),
    )
