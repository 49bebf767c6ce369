"""A transcript as pieces that a moment may begin and end with: in whole milliseconds, in pauses."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from clipflow.domain.transcript import Line, Word, sentences
from clipflow.highlights.titles import title_of

# Two moments share at most this part of the shorter one.
MOST_SHARED = Fraction(1, 10)


@dataclass(frozen=True)
class Brief:
    """How many moments, how long each should be, and how long the video is, both in seconds.

    `duration_seconds` is None if it is unknown; the video then counts as ending with the speech.
    """

    count: int
    target_seconds: float
    duration_seconds: float | Fraction | None = None


@dataclass(frozen=True)
class PieceRange:
    """Pieces of speech `first` to `last`, both included, counted from 0."""

    first: int
    last: int


@dataclass(frozen=True)
class Choice:
    """A candidate for a moment: its pieces, a score from 0 to 100, the reason and a title."""

    span: PieceRange
    score: float
    why: str
    title: str


# Microseconds by which a moment begins before its first word, and ends after its last, at most:
# speech that is cut too closely sounds abrupt.
_BREATH_BEFORE, _BREATH_AFTER = 250_000, 350_000
# Microseconds that words may overlap by and still be parted, where there is no pause to be had:
# an aligner's times are not surer than that.
_BLUR = 50_000


@dataclass(frozen=True)
class Pause:
    """Between two words, in microseconds: from the end of the one to the start of the next.

    Where the words overlap it ends before it starts.
    """

    start: int
    end: int

    @property
    def silence(self) -> int:
        return self.end - self.start

    @property
    def milliseconds(self) -> range:
        """The whole milliseconds in it, its ends included; none if words overlap."""
        return range(-(-self.start // 1000), self.end // 1000 + 1)

    def nearest(self, time: int) -> int:
        """The whole millisecond of the pause that is nearest to `time` (µs)."""
        inside = self.milliseconds
        if not inside:
            return (self.start + self.end) // 2000
        return min(max(round(time / 1000), inside[0]), inside[-1])


@dataclass(frozen=True)
class Piece:
    """Words that are not parted: a moment may start at `start` and end at `end`, in milliseconds.

    `first` and `last` are its first and last line; `opens` and `closes` whether it begins the one
    and ends the other; `silence` is how long, in seconds, nothing is said before it.
    """

    first: int
    last: int
    start: int
    end: int
    opens: bool
    closes: bool
    silence: float
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Speech:
    """All that is said: its lines, its pieces, and the bounds of a moment in milliseconds."""

    lines: tuple[Line, ...]
    pieces: tuple[Piece, ...]
    shortest: int
    longest: int
    target: int
    # Where the video ends.
    length: int

    @classmethod
    def of(cls, words: Sequence[Word], brief: Brief, language: str | None = None) -> "Speech":
        """The pieces of `words`: sentences, parted at words where they are longer than the target.

        So a moment that is too short by a piece's length is never too long with it. Words that
        are nothing but blanks or begin after the video are left out.
        """
        end = brief.duration_seconds
        limit = None if end is None else int(end * 1_000_000)
        said = [word for word in words if word.text.strip()]
        said = sorted(
            (word for word in said if limit is None or _microseconds(word.start) < limit),
            key=lambda word: word.start,
        )
        spoken = sentences(said, language)
        parting = _Parting(spoken, _pauses(said, limit), int(brief.target_seconds * 1000))
        pieces = tuple(parting.piece(part) for part in parting.parts())
        last = pieces[-1].end if pieces else 0
        return cls(
            lines=tuple(spoken),
            pieces=pieces,
            shortest=-int(-brief.target_seconds * 500 // 1),
            longest=int(brief.target_seconds * 1500),
            target=parting.target,
            length=last if limit is None else limit // 1000,
        )

    def fits(self, first: int, last: int) -> bool:
        """Whether pieces `first` to `last` make a moment that is neither too short nor too long."""
        return self.shortest <= self.milliseconds(first, last) <= self.longest

    def covering(self, first: int, last: int) -> PieceRange:
        """The pieces that lines `first` to `last` are in."""
        inside = [n for n, p in enumerate(self.pieces) if p.first <= last and p.last >= first]
        return PieceRange(inside[0], inside[-1])

    def title(self, span: PieceRange, weights: Sequence[float] | NDArray[np.float64]) -> str:
        """A title out of the sentences of `span`, whose pieces count as `weights` says."""
        found: list[tuple[list[Word], float]] = []
        for piece, weight in zip(
            self.pieces[span.first : span.last + 1], map(float, weights), strict=True
        ):
            if piece.opens or not found:
                found.append((list(piece.words), weight))
            else:
                words, before = found[-1]
                found[-1] = ([*words, *piece.words], max(before, weight))
        return title_of([words for words, _ in found], [weight for _, weight in found])

    def milliseconds(self, first: int, last: int) -> int:
        return self.pieces[last].end - self.pieces[first].start


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _pauses(words: Sequence[Word], limit: int | None) -> list[Pause]:
    """The pauses before each word, and the one behind the last."""
    if not words:
        return []
    starts = [_microseconds(word.start) for word in words]
    ends = [max(_microseconds(word.start), _microseconds(word.end)) for word in words]
    # A word may go on while the next ones are said: only behind all of them is silence.
    reached = list(accumulate(ends if limit is None else [min(e, limit) for e in ends], max))
    close = reached[-1] + 2 * _BREATH_AFTER if limit is None else limit
    return [Pause(*pause) for pause in zip([0, *reached], [*starts, close], strict=True)]


def word_span(words: Sequence[Word], first: int, last: int) -> tuple[Fraction, Fraction]:
    """The start and the end, in seconds, of a moment of the words `first` to `last`: in the pauses
    around them, as near to the words as those of a chosen moment."""
    pauses = _pauses(words, None)
    start, end = _start_in(pauses[first]), _end_in(pauses[last + 1])
    return Fraction(start, 1000), Fraction(end, 1000)


def _start_in(pause: Pause) -> int:
    return pause.nearest(max((pause.start + pause.end) // 2, pause.end - _BREATH_BEFORE))


def _end_in(pause: Pause) -> int:
    return pause.nearest(min((pause.start + pause.end) // 2, pause.start + _BREATH_AFTER))


class _Parting:
    """Where words may be parted. A part is a range of words."""

    def __init__(self, spoken: Sequence[Line], pauses: Sequence[Pause], target: int) -> None:
        self.pauses = pauses
        self.target = target
        self.words = [word for line in spoken for word in line.words]
        self.line_of = [n for n, line in enumerate(spoken) for _ in line.words]
        self.starts = {0, *accumulate(len(line.words) for line in spoken)}

    def parts(self) -> list[range]:
        """The lines, those that overlap as one; a long one as several."""
        clean = [at for at in sorted(self.starts) if self.pauses and self._is_whole(at)]
        waiting = [range(first, following) for first, following in pairwise(clean)][::-1]
        parts = []
        while waiting:
            part = waiting.pop()
            at = self._middle(part)
            if at is None:
                parts.append(part)
            else:
                waiting += [range(at, part.stop), range(part.start, at)]
        return parts

    def piece(self, part: range) -> Piece:
        first, last = self.line_of[part.start], self.line_of[part.stop - 1]
        return Piece(
            first=first,
            last=last,
            start=self._start(part.start),
            end=self._end(part.stop),
            opens=part.start in self.starts,
            closes=part.stop in self.starts,
            silence=max(0, self.pauses[part.start].silence) / 1_000_000,
            words=tuple(self.words[part.start : part.stop]),
        )

    def _is_whole(self, at: int) -> bool:
        return at in (0, len(self.words)) or bool(self.pauses[at].milliseconds)

    def _start(self, at: int) -> int:
        return _start_in(self.pauses[at])

    def _end(self, at: int) -> int:
        return _end_in(self.pauses[at])

    def _middle(self, part: range) -> int | None:
        """Where to part what is longer than the target: at its longest silence; None: nowhere."""
        if self._end(part.stop) - self._start(part.start) <= self.target:
            return None
        inside = range(part.start + 1, part.stop)
        able = [at for at in inside if self._is_whole(at)]
        # Without a single pause: between words that hardly overlap, lines first.
        able = able or [at for at in inside if self.pauses[at].silence >= -_BLUR]
        centre = part.start + part.stop
        return max(able, key=lambda at: self._ease(at, centre), default=None)

    def _ease(self, at: int, centre: int) -> tuple[bool, int, int]:
        pause = self.pauses[at]
        return not pause.milliseconds and at in self.starts, pause.silence, -abs(2 * at - centre)
