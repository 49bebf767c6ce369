"""From where a face is in a shot to how the crop goes: it rests, and moves only when it must."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from clipflow.reframe.path import Knot, Piece, cubic, even

# Of all that follows, lengths are in crops: the crop's width for x, its height for y.
# A crop a second each second: what an eased move takes, and what none may exceed.
_CALM, HARDEST = 1.0, 2.0
# Crops a second: faster than that nobody can look.
FASTEST = 1.5
# Seconds: no move is quicker, however short its way; no rest between two moves is shorter, or it
# would look like a stumble, and the crop passes through.
_QUICKEST, _PAUSE = 0.8, 0.6


@dataclass(frozen=True)
class Rest:
    """A span of seconds in which one place, in pixels, serves."""

    start: float
    end: float
    place: float

    @property
    def length(self) -> float:
        return self.end - self.start

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


def planned(
    wanted: Sequence[tuple[float, float]], start: float, end: float, size: int, zone: float
) -> list[Knot]:
    """The knots of one edge in the shot `start ≤ t < end`, the first at its very start.

    `wanted` is where the edge would be best, as seconds and pixels, in order and not empty;
    `size` the crop's length and `zone` how far from best it may be, in pixels. The edge never
    leaves the span of the wanted places, never accelerates faster than `HARDEST` crops/s² and
    never goes faster than `FASTEST` crops/s: what would need more is not followed.
    """
    rests = _rests(wanted, start, end, zone)
    while True:
        knots = _knots(rests, size)
        hurried = _hurried(knots, size)
        if hurried is None or len(rests) == 1:
            return knots
        near = [rest for rest in rests if rest.start < hurried[1] and hurried[0] < rest.end]
        rests = _without(rests, min(near, key=lambda rest: rest.length))


def _rests(
    wanted: Sequence[tuple[float, float]], start: float, end: float, zone: float
) -> list[Rest]:
    """As few rests as a look ahead of none finds: each lasts until its median no longer serves."""
    rests: list[Rest] = []
    places: list[float] = []
    since, before = start, start
    for time, place in wanted:
        if places and abs(place - _median(places)) > zone:
            turn = (before + time) / 2
            rests.append(Rest(since, turn, even(_median(places))))
            places, since = [], turn
        insort(places, place)
        before = time
    rests.append(Rest(since, end, even(_median(places))))
    return rests


def _median(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return (ordered[half] + ordered[-half - 1]) / 2


def _knots(rests: Sequence[Rest], size: int) -> list[Knot]:
    # Each move is centred on the moment at which its rest no longer serves, so it begins before.
    ways = [following.place - rest.place for rest, following in pairwise(rests)]
    halves = [0.0, *(_duration(way, size) / 2 for way in ways), 0.0]
    knots: list[Knot] = []
    passed: list[int] = []
    for index, rest in enumerate(rests):
        arrival, departure = rest.start + halves[index], rest.end - halves[index + 1]
        inner = 0 < index < len(ways)
        if inner and ways[index - 1] * ways[index] > 0 and departure - arrival < _PAUSE:
            passed.append(len(knots))
            knots.append(Knot(rest.middle, rest.place))
        elif departure > arrival:
            knots += [Knot(arrival, rest.place), Knot(departure, rest.place)]
        else:
            # The picture's cuts are the only times at which a shot's first and last rest may be.
            time = rest.middle if inner else rest.start if index == 0 else rest.end
            knots.append(Knot(time, rest.place))
    for index in passed:
        knots[index] = _passing(*knots[index - 1 : index + 2])
    return knots


def _duration(way: float, size: int) -> float:
    # An eased move of `way` in T seconds accelerates by 6·way/T² at its ends.
    return max(_QUICKEST, sqrt(6 * abs(way) / size / _CALM))


def _passing(before: Knot, knot: Knot, after: Knot) -> Knot:
    """`knot` with the harmonic mean of the ways' speeds, by which a cubic never overshoots."""
    arriving = (knot.place - before.place) / (knot.time - before.time)
    leaving = (after.place - knot.place) / (after.time - knot.time)
    return Knot(knot.time, knot.place, 2 * arriving * leaving / (arriving + leaving))


def _hurried(knots: Sequence[Knot], size: int) -> tuple[float, float] | None:
    """The span of the first piece that is too fast or accelerates too much."""
    for knot, following in pairwise(knots):
        piece, length = cubic(knot, following), following.time - knot.time
        ends = abs(2 * piece.c), abs(2 * piece.c + 6 * piece.d * length)
        if max(ends) > HARDEST * size or _top_speed(piece, length) > FASTEST * size:
            return knot.time, following.time
    return None


def _top_speed(piece: Piece, length: float) -> float:
    turns = [-piece.c / (3 * piece.d)] if piece.d else []
    times = [0.0, length, *(turn for turn in turns if 0 < turn < length)]
    return max(abs(piece.b + u * (2 * piece.c + 3 * u * piece.d)) for u in times)


def _without(rests: Sequence[Rest], rest: Rest) -> list[Rest]:
    """`rests` without `rest`, whose time goes to its neighbours."""
    index = rests.index(rest)
    before, after = list(rests[:index]), list(rests[index + 1 :])
    turn = rest.end if not after else rest.start if not before else rest.middle
    if before:
        before[-1] = Rest(before[-1].start, turn if after else rest.end, before[-1].place)
    if after:
        after[0] = Rest(turn if before else rest.start, after[0].end, after[0].place)
    return before + after
