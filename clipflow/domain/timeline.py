"""The time of a shortened video: which pieces of a span are kept, and where each of them begins."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from typing import Self

from clipflow.domain.transcript import Word


@dataclass(frozen=True)
class TimeRange:
    """`start ≤ t < end`, in seconds."""

    start: Fraction
    end: Fraction

    @property
    def duration(self) -> Fraction:
        return self.end - self.start


@dataclass(frozen=True)
class Timeline:
    """The kept pieces of a span, in order, separate and not empty, in seconds from its start.

    In the shortened video they follow one another without gaps, from time zero.
    """

    pieces: tuple[TimeRange, ...]

    @classmethod
    def without(cls, cuts: Iterable[TimeRange], duration: Fraction) -> Self:
        """What remains of `duration` seconds without `cuts`, which may touch each other.

        Raises ValueError if nothing remains.
        """
        pieces, reached = [], Fraction(0)
        for cut in sorted(cuts, key=lambda cut: cut.start):
            if cut.start > reached:
                pieces.append(TimeRange(reached, cut.start))
            reached = max(reached, cut.end)
        if reached < duration:
            pieces.append(TimeRange(reached, duration))
        if not pieces:
            raise ValueError("nothing remains")
        return cls(tuple(pieces))

    @cached_property
    def starts(self) -> tuple[Fraction, ...]:
        """Where each piece begins in the shortened video."""
        return tuple(accumulate((p.duration for p in self.pieces[:-1]), initial=Fraction(0)))

    @cached_property
    def duration(self) -> Fraction:
        return sum((piece.duration for piece in self.pieces), Fraction(0))

    def at(self, time: Fraction) -> Fraction:
        """The time in the shortened video; for a time that is left out, the time of the join."""
        place = bisect_right(self.pieces, time, key=lambda piece: piece.start) - 1
        if place < 0:
            return Fraction(0)
        piece = self.pieces[place]
        return self.starts[place] + min(time, piece.end) - piece.start

    def words(self, words: Sequence[Word]) -> list[Word]:
        """The words with their times in the shortened video."""
        return [
            word.model_copy(
                update={"start": self._seconds(word.start), "end": self._seconds(word.end)}
            )
            for word in words
        ]

    def _seconds(self, time: float) -> float:
        # Rounded to the microsecond, because captions read the decimal digits of these times.
        return round(float(self.at(Fraction(str(time)))), 6)
