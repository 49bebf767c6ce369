"""Planning one segment and making it: its window fetched, cut exactly, put under its key."""

import logging
import tempfile
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import floor
from pathlib import Path

from clipflow.domain.errors import InvalidInput
from clipflow.domain.timecode import format_timecode
from clipflow.media.form import Form
from clipflow.media.probe import Probe
from clipflow.media.smart_cut import smart_cut
from clipflow.media.window import Span, fetch
from clipflow.segments.checkpoint import fingerprint, is_made_from, video_metadata
from clipflow.segments.source import open_source
from clipflow.settings import settings
from clipflow.storage.objects import ObjectHead, ObjectStore

logger = logging.getLogger(__name__)

# An end this far past the source's is taken for its end: detectors round up.
_CLAMP_SECONDS = 1


@dataclass(frozen=True)
class SegmentPlan:
    """One segment to make: which span of which object, in which form, under which key."""

    key: str
    head: ObjectHead
    source: Probe
    span: Span
    form: Form

    @property
    def fingerprint(self) -> str:
        """Equal for equal segments."""
        span = [format_timecode(self.span.start), format_timecode(self.span.end)]
        return fingerprint([span, self.head.etag, asdict(self.form)])


def span_within(span: Span, source: Probe) -> Span:
    """The span; an end up to a second past the source's is clamped to it.

    Raises InvalidInput where it ends later than that.
    """
    if source.duration is None or span.end <= source.duration:
        return span
    if span.end > source.duration + _CLAMP_SECONDS or span.start >= source.duration:
        raise InvalidInput(
            f"Segment {span} ends past {source.name}, "
            f"which lasts {format_timecode(source.duration)}.",
            "Correct the segment's times or its source.",
        )
    # To a microsecond, so that the length survives being written as a number.
    clamped = Fraction(floor(source.duration * 10**6), 10**6)
    logger.warning("%s: end clamped to %s", span, format_timecode(clamped))
    return Span(span.start, clamped)


def make_segment(
    plan: SegmentPlan, objects: ObjectStore, *, threads: int, force: bool = False
) -> int:
    """Make `plan`, unless it is there already, made from the same; its bytes.

    Raises what reading the source, cutting and storing raise.
    """
    head = objects.head(plan.key)
    if head and not force and is_made_from(head, plan.fingerprint):
        return head.size
    with tempfile.TemporaryDirectory(prefix="clipflow-", dir=settings().scratch) as scratch:
        path = Path(scratch, "segment.mp4")
        source = open_source(plan.head, objects)
        window = fetch(source, plan.source, plan.span, Path(scratch, "window.nut"))
        made = smart_cut(window, plan.source, plan.form, path, threads)
        metadata = video_metadata(
            plan.span.duration, plan.form.resolution, 1, plan.head.etag, plan.fingerprint
        )
        metadata["cut-way"] = made.label
        objects.upload(path, plan.key, metadata)
        return path.stat().st_size
