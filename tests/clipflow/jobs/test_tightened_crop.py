"""The crop of a tightened short: on the new time, with jumps only where something is taken out."""

from fractions import Fraction
from itertools import pairwise

from clipflow.domain.layouts import Layout
from clipflow.domain.removals import Timeline, TimeRange
from clipflow.domain.shorts import Framing
from clipflow.jobs.tighten import tightened_plan
from clipflow.reframe.crop import CropPath, FramePlan, Knot, Section, plan_edge

RATE, SIZE = 25, 400
FRAMES = [Fraction(n, RATE) for n in range(10 * RATE)]
# Within a move of the crop, within a rest of it, and over the picture's own cut at 7 seconds.
CUTS = [
    TimeRange(Fraction(52, RATE), Fraction(66, RATE)),
    TimeRange(Fraction(150, RATE), Fraction(159, RATE)),
    TimeRange(Fraction(168, RATE), Fraction(183, RATE)),
]


def edge(start: float, end: float, *places: float) -> tuple[Knot, ...]:
    """The path of a crop whose subject is at each place for an equal part of the time."""
    times = [start + n * (end - start) / 60 for n in range(60)]
    wanted = [(time, places[n * len(places) // 60]) for n, time in enumerate(times)]
    return tuple(plan_edge(wanted, start, end, SIZE, SIZE / 10))


def plan() -> FramePlan:
    still = (Knot(0, 40),)
    first = CropPath(SIZE, SIZE, edge(0, 7, 100, 600, 300), still)
    second = CropPath(SIZE, SIZE, edge(7, 10, 800, 700), still)
    sections = (
        Section(0, 7, Layout.CROP, (first,)),
        Section(7, 10, Layout.CROP, (second,)),
    )
    return FramePlan(sections, Framing(speaker_in_frame=1, confidence=1, cuts=1, layouts=()), 900)


def left_at(plan: FramePlan, time: Fraction) -> int:
    """The crop's left edge in the frame at `time` seconds after the first frame."""
    section = next(part for part in plan.sections if part.start <= time < part.end)
    return section.crops[0].at(float(time))[0]


def test_each_kept_frame_has_its_own_crop_and_only_joins_jump() -> None:
    whole, timeline = plan(), Timeline.without(CUTS, Fraction(10))
    kept = [t for t in FRAMES if not any(cut.start <= t < cut.end for cut in CUTS)]
    tightened = tightened_plan(whole, timeline, Fraction(0), Fraction(0))
    lefts = [left_at(tightened, Fraction(n, RATE)) for n in range(len(kept))]
    # Knots are half a millisecond earlier, which may round a moving edge to the next even pixel.
    pairs = zip(lefts, (left_at(whole, time) for time in kept), strict=True)
    assert max(abs(left - wanted) for left, wanted in pairs) <= 2
    # The crop does move, and no faster than in the whole short.
    steps = [abs(left_at(whole, b) - left_at(whole, a)) for a, b in pairwise(FRAMES) if b != 7]
    joins = {round(timeline.at(cut.end) * RATE) for cut in CUTS}
    jumps = {n for n, (a, b) in enumerate(pairwise(lefts), 1) if abs(b - a) > max(steps)}
    assert 0 < max(steps) < 40
    # The crop rests where the second cut is.
    assert jumps == joins - {round(timeline.at(CUTS[1].end) * RATE)}
