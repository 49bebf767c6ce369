"""Making one segment: its window fetched, cut exactly, put under its key."""

import tempfile
from pathlib import Path

from clipflow.clips.plan import Cut, is_made_from, object_metadata
from clipflow.clips.sources import open_source
from clipflow.domain.clips import ExtractOutput, SegmentMetadata
from clipflow.domain.keys import ClipKeys
from clipflow.media.cut import cut
from clipflow.media.window import fetch
from clipflow.settings import settings
from clipflow.storage.objects import ObjectStore


def extract(
    planned: Cut,
    keys: ClipKeys,
    objects: ObjectStore,
    *,
    threads: int,
    force: bool = False,
) -> ExtractOutput:
    """Make `planned`, unless it is there already, made from the same.

    Raises what reading the source, cutting and storing raise.
    """
    key = keys.segment(planned.request.index)
    head = objects.head(key)
    if head and not force and is_made_from(head.metadata, planned.fingerprint):
        return _output(planned, key, head.size)
    with tempfile.TemporaryDirectory(prefix="clipflow-", dir=settings().scratch) as scratch:
        path = Path(scratch, "segment.mp4")
        source = open_source(planned.head, objects)
        window = fetch(source, planned.source, planned.span, Path(scratch, "window.nut"))
        cut(window, planned.source, planned.form, path, threads)
        objects.upload(
            path,
            key,
            object_metadata(
                planned.span.duration,
                planned.form.resolution,
                1,
                planned.head.etag,
                planned.fingerprint,
            ),
        )
        return _output(planned, key, path.stat().st_size)


def _output(planned: Cut, key: str, size: int) -> ExtractOutput:
    return ExtractOutput(
        episode_id=planned.request.episode_id,
        clip_id=planned.request.clip_id,
        segment_file=key,
        metadata=SegmentMetadata(
            duration=float(planned.span.duration),
            file_size=size,
            resolution=planned.form.resolution,
        ),
    )
