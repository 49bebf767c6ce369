"""A crop's size and its way through the picture, as data."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import floor


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
class Piece:
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
    parts = pieces(knots)
    found = bisect_right(parts, time, key=lambda piece: piece.start)
    return parts[max(0, found - 1)].at(max(time, parts[0].start))


def pieces(knots: Sequence[Knot]) -> list[Piece]:
    """The same path as pieces; the last has no end."""
    moves = [cubic(knot, after) for knot, after in pairwise(knots) if after.time > knot.time]
    kept: list[Piece] = []
    for piece in [*moves, Piece(knots[-1].time, knots[-1].place)]:
        # Standing still goes on in one piece.
        if not (kept and _stands(piece) and _stands(kept[-1]) and kept[-1].a == piece.a):
            kept.append(piece)
    return kept


def cubic(knot: Knot, following: Knot) -> Piece:
    """The piece between two knots, by Hermite's form."""
    length, way = following.time - knot.time, following.place - knot.place
    c = (3 * way / length - 2 * knot.speed - following.speed) / length
    d = (knot.speed + following.speed - 2 * way / length) / length**2
    return Piece(knot.time, knot.place, knot.speed, c, d)


def _stands(piece: Piece) -> bool:
    return piece.b == piece.c == piece.d == 0
