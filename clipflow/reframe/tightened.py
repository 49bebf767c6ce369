"""A short's frame plan on the time of the tightened short: at a join, the crop jumps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf

from clipflow.domain.shorts import LayoutSpan
from clipflow.domain.timeline import Timeline
from clipflow.reframe.crop import CropPath, FramePlan, Knot, Section

# Seconds before the first frame after a join at which the crop jumps, because ffmpeg's expressions
# have floats: less than there is between two frames.
_EARLY = 0.0005


def tightened_plan(
    plan: FramePlan, timeline: Timeline, first: Fraction, first_kept: Fraction
) -> FramePlan:
    """`plan` without what `timeline` leaves out.

    The plan's times count from the first frame: `first` is its time in the span, and `first_kept`
    that of the first frame of the tightened short, in the short.
    """
    spans = [
        _Span(
            float(piece.start - first),
            float(piece.end - first),
            float(start - piece.start + first - first_kept),
        )
        for piece, start in zip(timeline.pieces, timeline.starts, strict=True)
    ]
    last = len(plan.sections) - 1
    sections = []
    for number, section in enumerate(plan.sections):
        # The first and the last section go on to the ends, however those are rounded.
        start, end = section.start if number else -inf, section.end if number < last else inf
        kept = [span.between(start, end) for span in spans if span.start < end and start < span.end]
        if kept:
            sections.append(_section(section, kept))
    layouts = [
        LayoutSpan(start=round(part.start, 3), end=round(part.end, 3), layout=part.layout)
        for part in sections
    ]
    cuts = sum(part.jumps for part in sections) + len(sections) - 1
    framing = plan.framing.model_copy(update={"layouts": tuple(layouts), "cuts": cuts})
    lips = tuple(
        (time + span.shift, y)
        for span in spans
        for time, y in plan.lips
        if span.start <= time < span.end
    )
    return replace(plan, sections=tuple(sections), framing=framing, lips=lips)


@dataclass(frozen=True)
class _Span:
    """A kept part of the plan, and the seconds by which it moves."""

    start: float
    end: float
    shift: float

    def between(self, start: float, end: float) -> "_Span":
        return _Span(max(self.start, start), min(self.end, end), self.shift)


def _section(section: Section, kept: Sequence[_Span]) -> Section:
    start, end = kept[0].start + kept[0].shift, kept[-1].end + kept[-1].shift
    crops = tuple(_crop(crop, kept) for crop in section.crops)
    return Section(max(0.0, start - _EARLY), end - _EARLY, section.layout, crops)


def _crop(crop: CropPath, kept: Sequence[_Span]) -> CropPath:
    parts = [crop.between(span.start, span.end).shifted(span.shift) for span in kept]
    x, y = (_joined([getattr(part, edge) for part in parts]) for edge in ("x", "y"))
    return CropPath(crop.width, crop.height, x, y)


def _joined(edges: Sequence[tuple[Knot, ...]]) -> tuple[Knot, ...]:
    """The parts of an edge one after the other, jumping shortly before each join."""
    joined: list[Knot] = []
    for first, *inner, last in edges:
        # Two knots of one time are a jump, so the time is the same number.
        time = joined[-1].time if joined else first.time - _EARLY
        joined += [replace(first, time=time), *inner, replace(last, time=last.time - _EARLY)]
    return tuple(joined)
