"""The kept pieces of a span as one stream: frames and samples are exact, and joins do not click."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import ffmpeg as command

from clipflow.domain.timeline import Timeline
from clipflow.media.encode import TIMESCALE, samples

# Seconds of sound that overlap at a join, half of them before and half after it: a few milliseconds
# are heard as neither a click nor a fade.
CROSSFADE = Fraction(1, 125)
# Ticks by which the time of a frame may be rounded; frames are further apart.
_TOLERANCE = 2


@dataclass(frozen=True)
class _Run:
    """Consecutive frames of the span, by their numbers, and the seconds by which they move."""

    first: int
    last: int
    shift: Fraction


def kept_frames(frames: Sequence[Fraction], timeline: Timeline) -> tuple[Fraction, ...]:
    """The times at which the kept frames are shown, of a span with frames at `frames` seconds."""
    return tuple(
        frames[number] + run.shift
        for run in _runs(frames, timeline)
        for number in range(run.first, run.last + 1)
    )


def keep_frames(stream: Any, frames: Sequence[Fraction], timeline: Timeline) -> Any:
    """Only the kept frames, at their new times. `stream` has frames at `frames` seconds, and a time
    base of `TIMESCALE`."""
    runs = _runs(frames, timeline)
    ticks = [(round(frames[r.first] * TIMESCALE), round(frames[r.last] * TIMESCALE)) for r in runs]
    inside = [f"between(pts,{a - _TOLERANCE},{b + _TOLERANCE})" for a, b in ticks]
    shifts = [0, *(round(run.shift * TIMESCALE) for run in runs)]
    steps = [
        f"{after - before:+d}*gte(PTS,{first - _TOLERANCE})"
        for (before, after), (first, _) in zip(pairwise(shifts), ticks, strict=True)
        if after != before
    ]
    return stream.filter("select", "+".join(inside)).filter("setpts", "PTS" + "".join(steps))


def _runs(frames: Sequence[Fraction], timeline: Timeline) -> list[_Run]:
    runs: list[_Run] = []
    for piece, start in zip(timeline.pieces, timeline.starts, strict=True):
        first, end = bisect_left(frames, piece.start), bisect_left(frames, piece.end)
        begins_with_frame = first < end and frames[first] == piece.start
        held = first - 1
        if not begins_with_frame and held >= 0 and (not runs or runs[-1].last < held):
            # The frame that is visible when the piece begins was first shown in a part left out.
            runs.append(_Run(held, held, start - frames[held]))
        if first < end:
            runs.append(_Run(first, end - 1, start - piece.start))
    return runs


def join_sound(stream: Any, timeline: Timeline, rate: int) -> Any:
    """The kept samples, crossfaded at the joins: as many as `samples` of the timeline's duration.

    `stream` has the whole span at `rate` samples a second.
    """
    pieces, total = timeline.pieces, samples(timeline.duration, rate)
    # Each piece begins at the sample that is nearest to its time, so that errors do not add up.
    places = [*(round(start * rate) for start in timeline.starts), total]
    half = round(CROSSFADE * rate / 2)
    copies = stream.asplit() if len(pieces) > 1 else {0: stream}
    joined = None
    for number, (piece, (begins, ends)) in enumerate(zip(pieces, pairwise(places), strict=True)):
        first = round(piece.start * rate)
        last = first + ends - begins
        first -= half if joined is not None else 0
        last += half if number + 1 < len(pieces) else 0
        part = copies[number].filter("atrim", start_sample=first, end_sample=last)
        part = part.filter("asetpts", "N/SR/TB")
        # Raised cosines: they have no corners, and their sum is 1.
        fade = {"nb_samples": 2 * half, "curve1": "hsin", "curve2": "hsin"}
        joined = part if joined is None else command.filter([joined, part], "acrossfade", **fade)
    assert joined is not None
    return (
        joined.filter("asetpts", "N/SR/TB")
        .filter("apad", whole_len=total)
        .filter("atrim", end_sample=total)
    )
