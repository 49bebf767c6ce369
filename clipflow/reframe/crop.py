"""A crop's path through a picture: planned from where it should be, and written for ffmpeg.

Below it, `FramePlan`: all that a short shows, as sections of time with their layouts and crops.

The crop rests, and moves only when what it follows leaves a zone around the rest, with bounded
speed and acceleration. The crop filter of ffmpeg gets the path as an expression of time.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import floor, sqrt
from typing import Any

from clipflow.domain.layouts import Content, Layout
from clipflow.domain.safe_zones import Box
from clipflow.domain.shorts import Framing


@dataclass(frozen=True)
class Knot:
    """Where the crop's left or upper edge is at `time`, and how fast it goes there.

    Seconds from the video's first frame, pixels, pixels a second. Between two knots lies the
    cubic that meets both; two knots of one time are a jump.
    """

    time: float
    place: float
    speed: float = 0.0


@dataclass(frozen=True)
class CubicPiece:
    """`place = a + b·u + c·u² + d·u³` pixels, `u` seconds after `start`, until the next piece."""

    start: float
    a: float
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0

    def at(self, time: float) -> float:
        u = time - self.start
        return self.a + u * (self.b + u * (self.c + u * self.d))


@dataclass(frozen=True)
class CropPath:
    """A crop of `width` x `height` pixels, both even, and the knots of its left and upper edge.

    Each edge has at least one knot. Before the first and after the last it stands still.
    """

    width: int
    height: int
    x: tuple[Knot, ...]
    y: tuple[Knot, ...]

    def shifted(self, seconds: float) -> "CropPath":
        """The same path, later by a number of seconds."""
        x, y = (
            tuple(Knot(knot.time + seconds, knot.place, knot.speed) for knot in edge)
            for edge in (self.x, self.y)
        )
        return CropPath(self.width, self.height, x, y)

    def between(self, start: float, end: float) -> "CropPath":
        """The part of the path in `start ≤ t < end`."""
        x, y = (
            (
                _knot_at(edge, start),
                *(knot for knot in edge if start < knot.time < end),
                _knot_at(edge, end),
            )
            for edge in (self.x, self.y)
        )
        return CropPath(self.width, self.height, x, y)

    def at(self, time: float) -> tuple[int, int]:
        """The left and the upper edge as they are applied, in pixels: even, for 4:2:0."""
        return even(place(self.x, time)), even(place(self.y, time))


def largest_box(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """The largest even width and height of `aspect` (width / height) in the picture."""
    widest, highest = width // 2 * 2, height // 2 * 2
    if Fraction(widest, highest) > aspect:
        return min(widest, max(2, 2 * round(highest * aspect / 2))), highest
    return widest, min(highest, max(2, 2 * round(widest / aspect / 2)))


def even(length: float) -> int:
    """The nearest even number, of two the higher one: `expression` rounds in the same way."""
    return 2 * floor(length / 2 + 0.5)


def place(knots: Sequence[Knot], time: float) -> float:
    """The edge at `time`, not rounded, in pixels."""
    parts = cubic_pieces(knots)
    found = bisect_right(parts, time, key=lambda piece: piece.start)
    return parts[max(0, found - 1)].at(max(time, parts[0].start))


def _knot_at(knots: Sequence[Knot], time: float) -> Knot:
    """Where the edge is at `time`, and how fast it goes there."""
    parts = cubic_pieces(knots)
    piece = parts[max(0, bisect_right(parts, time, key=lambda piece: piece.start) - 1)]
    u = max(time, parts[0].start) - piece.start
    return Knot(time, piece.at(piece.start + u), piece.b + u * (2 * piece.c + u * 3 * piece.d))


def cubic_pieces(knots: Sequence[Knot]) -> list[CubicPiece]:
    """The same path as pieces; the last has no end."""
    moves = [cubic(knot, after) for knot, after in pairwise(knots) if after.time > knot.time]
    kept: list[CubicPiece] = []
    for piece in [*moves, CubicPiece(knots[-1].time, knots[-1].place)]:
        # Consecutive knots at one place become one piece.
        if not (kept and _stands(piece) and _stands(kept[-1]) and kept[-1].a == piece.a):
            kept.append(piece)
    return kept


def cubic(knot: Knot, following: Knot) -> CubicPiece:
    """The piece between two knots, by Hermite's form."""
    length, way = following.time - knot.time, following.place - knot.place
    c = (3 * way / length - 2 * knot.speed - following.speed) / length
    d = (knot.speed + following.speed - 2 * way / length) / length**2
    return CubicPiece(knot.time, knot.place, knot.speed, c, d)


def _stands(piece: CubicPiece) -> bool:
    return piece.b == piece.c == piece.d == 0


# The unit of length below is the crop's own width for x and its own height for y.
# The acceleration of an eased move and the limit for any move, in lengths per second squared.
_CALM, HARDEST = 1.0, 2.0
# The highest speed that a viewer can follow, in lengths per second.
FASTEST = 1.5
# The shortest duration of a move, and of a rest between two moves, in seconds. The crop passes
# through a shorter rest, which would look like a stumble.
_QUICKEST, _PAUSE = 0.8, 0.6
# Seconds after which the median of the wanted places is reliable enough to end a rest.
_SETTLED = 2.0


@dataclass(frozen=True)
class Rest:
    """A span of seconds in which the crop's edge stays at one place, in pixels.

    Between two rests the edge moves.
    """

    start: float
    end: float
    place: float

    @property
    def length(self) -> float:
        return self.end - self.start

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


def plan_edge(
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
        excess = _first_excess(knots, size)
        if excess is None or len(rests) == 1:
            return knots
        near = [rest for rest in rests if rest.start < excess[1] and excess[0] < rest.end]
        rests = _without(rests, min(near, key=lambda rest: rest.length))


def _rests(
    wanted: Sequence[tuple[float, float]], start: float, end: float, zone: float
) -> list[Rest]:
    """Divide the wanted places into few rests: intervals in which the crop does not move.

    A rest ends when the median of its places is further than `zone` from the next one; in its first
    seconds, when no place is within `zone` of all of them. Later places are not considered.
    """
    rests: list[Rest] = []
    places: list[float] = []
    since, before = start, start
    for time, place in wanted:
        if places:
            spread = max(place, places[-1]) - min(place, places[0])
            leaves = abs(place - _median(places)) > zone
            if spread > 2 * zone or (leaves and time - since > _SETTLED):
                turn = (before + time) / 2
                rests.append(Rest(since, turn, _place_within_zone(places, zone)))
                places, since = [], turn
        insort(places, place)
        before = time
    rests.append(Rest(since, end, _place_within_zone(places, zone)))
    return rests


def _median(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return (ordered[half] + ordered[-half - 1]) / 2


def _place_within_zone(ordered: Sequence[float], zone: float) -> int:
    """The even place nearest to the median that is within `zone` of all of them."""
    return even(min(max(_median(ordered), ordered[-1] - zone), ordered[0] + zone))


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


def _first_excess(knots: Sequence[Knot], size: int) -> tuple[float, float] | None:
    """The span of the first piece that is too fast or accelerates too much."""
    for knot, following in pairwise(knots):
        piece, length = cubic(knot, following), following.time - knot.time
        ends = abs(2 * piece.c), abs(2 * piece.c + 6 * piece.d * length)
        if max(ends) > HARDEST * size or _top_speed(piece, length) > FASTEST * size:
            return knot.time, following.time
    return None


def _top_speed(piece: CubicPiece, length: float) -> float:
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


# Variables of an expression, which libavutil keeps from frame to frame: the time since the first
# frame, the first frame's time, and whether that is known.
_NOW, _FIRST, _KNOWN = 0, 1, 2
# So the path holds wherever ffmpeg puts zero: with and without -copyts, behind a trim.
_CLOCK = (
    f"st({_FIRST},if(ld({_KNOWN}),ld({_FIRST}),t));"
    f"st({_KNOWN},1-isnan(t));"
    f"st({_NOW},t-ld({_FIRST}));"
)


def cropped(stream: Any, path: CropPath) -> Any:
    """`stream` of ffmpeg-python with the crop. Its frames must still be those that were analysed.

    Put it before `fps` or `setpts`: they move frames away from the cuts of the picture.
    """
    return stream.filter(
        "crop", w=path.width, h=path.height, x=expression(path.x), y=expression(path.y)
    )


def expression(knots: Sequence[Knot]) -> str:
    """An edge in even pixels, as an expression of the crop filter's `t`."""
    parts = cubic_pieces(knots)
    if len(parts) == 1:
        return f"2*floor({_number(parts[0].a)}/2+0.5)"
    return f"{_CLOCK}2*floor(({_chosen(parts)})/2+0.5)"


def _chosen(parts: Sequence[CubicPiece]) -> str:
    # A tree of halves: its depth stays far below the hundred that libavutil's parser allows.
    if len(parts) == 1:
        return _polynomial(parts[0])
    half = len(parts) // 2
    start = _number(parts[half].start)
    return f"if(lt(ld({_NOW}),{start}),{_chosen(parts[:half])},{_chosen(parts[half:])})"


def _polynomial(piece: CubicPiece) -> str:
    if piece.b == piece.c == piece.d == 0:
        return _number(piece.a)
    u = f"(ld({_NOW})-{_number(piece.start)})"
    a, b, c, d = (_number(part) for part in (piece.a, piece.b, piece.c, piece.d))
    return f"{a}+{u}*({b}+{u}*({c}+{u}*{d}))"


def _number(value: float) -> str:
    # A microsecond of time, and less than a tenth of a pixel over a piece of minutes. No exponent,
    # since libavutil would read its `e` as a name.
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return f"({text})" if text.startswith("-") else text


@dataclass(frozen=True)
class Section:
    """The layout of `start ≤ t < end` seconds, with a crop for each of its people.

    Crops have their times from the short's first frame, as the section has.
    """

    start: float
    end: float
    layout: Layout
    crops: tuple[CropPath, ...]

    def boxes(self, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
        """The boxes of its people's panes in a short of `size`."""
        return person_boxes(self.layout, size, len(self.crops))

    @property
    def jumps(self) -> int:
        """How often a crop jumps within the section, as at the picture's cuts."""
        times = {
            after.time
            for crop in self.crops
            for edge in (crop.x, crop.y)
            for before, after in pairwise(edge)
            if before.time == after.time and before.place != after.place
        }
        return len(times)


@dataclass(frozen=True)
class FramePlan:
    """All that a short shows: its sections in order, without gaps, and their record.

    `captions_centre` is the line of captions in the default style. `lips` are the seconds at which
    a mouth is seen, and how far down in the short its lips are, in pixels; `eyes` the same of eyes;
    `faces` those at which a face is seen, and its place in the short.
    """

    sections: tuple[Section, ...]
    framing: Framing
    captions_centre: int
    lips: tuple[tuple[float, int], ...] = ()
    faces: tuple[tuple[float, Box], ...] = ()
    eyes: tuple[tuple[float, int], ...] = ()


def person_boxes(
    layout: Layout, size: tuple[int, int], people: int
) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height of each person's pane; the last of an odd grid is a row wide."""
    panes = [pane for pane in layout.panes if pane.content is Content.PERSON]
    # Row by row, also in a wide picture, whose panes change sides.
    boxes = sorted((pane.box(size) for pane in panes), key=lambda box: (box[1], box[0]))[:people]
    if 1 < people < len(panes) and boxes:
        left, top, _, height = boxes[-1]
        boxes[-1] = (left, top, size[0] - left, height)
    return boxes
