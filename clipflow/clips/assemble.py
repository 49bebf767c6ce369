"""Making the clip of its segments."""

from fractions import Fraction

from clipflow.clips.plan import SourcedClip
from clipflow.domain.clips import ClipResult, StitchInput
from clipflow.domain.timecode import format_clock
from clipflow.media.stitch import Piece, stitch
from clipflow.segments.checkpoint import is_made_from, video_metadata
from clipflow.segments.scratch import work_folder
from clipflow.storage.objects import ObjectStore
from clipflow.telemetry.progress import report
from clipflow.telemetry.spans import span


def made_already(clip: SourcedClip, objects: ObjectStore) -> ClipResult | None:
    """The clip as its object tells it, where that was made from just this."""
    head = objects.head(clip.keys.clip)
    if head is None or not is_made_from(head, clip.fingerprint):
        return None
    duration = Fraction(head.metadata["duration-seconds"])
    return _result(clip, duration, head.metadata["resolution"], head.size)


def assemble(request: StitchInput, clip: SourcedClip, objects: ObjectStore) -> ClipResult:
    """Stitch the segments of `request` into the clip's object.

    Raises what storing and stitching raise.
    """
    needed = 2 * sum(segment.metadata.file_size for segment in request.segments)
    with span("stitch") as work, work_folder(needed) as scratch:
        pieces = []
        for index, segment in enumerate(request.segments):
            path = scratch / f"{index}.mp4"
            objects.download(segment.segment_file, path)
            pieces.append(Piece(path, Fraction(str(segment.metadata.duration))))
            report(len(pieces) / (len(request.segments) + 1))
        path = scratch / "clip.mp4"
        made = stitch(pieces, path)
        metadata = video_metadata(
            made.duration, made.resolution, len(pieces), clip.etags, clip.fingerprint
        )
        objects.upload(path, clip.keys.clip, metadata)
        work.bytes_read = sum(piece.path.stat().st_size for piece in pieces)
        work.bytes_written = path.stat().st_size
        return _result(clip, made.duration, made.resolution, work.bytes_written)


def _result(clip: SourcedClip, duration: Fraction, resolution: str, size: int) -> ClipResult:
    return ClipResult(
        s3_key=clip.keys.clip,
        file_size=size,
        duration=format_clock(duration),
        duration_seconds=float(duration),
        resolution=resolution,
        segment_count=len(clip.segments),
    )
