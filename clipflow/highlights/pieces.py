"""A transcript divided into pieces, at whose bounds moments can begin and end.

The bounds are whole milliseconds within pauses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from clipflow.domain.removals import without_fillers
from clipflow.domain.transcript import Line, Word, sentences
from clipflow.highlights.titles import title_of

# Two moments share at most this part of the shorter one.
MOST_SHARED = Fraction(1, 10)


@dataclass(frozen=True)
class Brief:
    """How many moments are requested, their target length, and the video's length, in seconds.

    `duration_seconds` is None if it is unknown; the video then counts as ending with the speech.
    `durations` are the shortest and the longest moment, half and one and a half times the target if
    None; `between` the start and end of the part of the video to choose from. `topics` are
    preferred, and `instructions` are for a language model.
    """

    count: int
    target_seconds: float
    duration_seconds: float | Fraction | None = None
    durations: tuple[float, float] | None = None
    between: tuple[Fraction, Fraction] | None = None
    topics: tuple[str, ...] = ()
    instructions: str | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """The shortest and the longest moment."""
        return self.durations or (self.target_seconds / 2, self.target_seconds * 1.5)

    @property
    def end(self) -> float | Fraction | None:
        """The end of the part to choose from; None if it is that of the speech."""
        ends = [end for end in (self.duration_seconds, self.between and self.between[1]) if end]
        return min(ends, default=None)


@dataclass(frozen=True)
class PieceRange:
    """Pieces of speech `first` to `last`, both included, counted from 0."""

    first: int
    last: int


@dataclass(frozen=True)
class Choice:
    """A candidate for a moment: its pieces, a score from 0 to 100, the reason and a title; from a
    language model also a description and hashtags."""

    span: PieceRange
    score: float
    why: str
    title: str
    description: str | None = None
    hashtags: tuple[str, ...] | None = None


# The most microseconds by which a moment begins before its first word and ends after its last one.
# Speech that is cut too closely sounds abrupt.
_BREATH_BEFORE, _BREATH_AFTER = 250_000, 350_000
# The overlap of two words, in microseconds, between which speech may still be divided if it has no
# pause. The times of an aligner are no more accurate.
_TOLERANCE = 50_000


@dataclass(frozen=True)
class Pause:
    """The time between two words, in microseconds. If the words overlap, it ends before it
    starts."""

    start: int
    end: int

    @property
    def silence(self) -> int:
        return self.end - self.start

    @property
    def milliseconds(self) -> range:
        """The whole milliseconds in it, including its ends; empty if the words overlap."""
        return range(-(-self.start // 1000), self.end // 1000 + 1)

    def nearest(self, time: int) -> int:
        """The whole millisecond of the pause that is nearest to `time`, in microseconds."""
        inside = self.milliseconds
        if not inside:
            return (self.start + self.end) // 2000
        return min(max(round(time / 1000), inside[0]), inside[-1])


@dataclass(frozen=True)
class Piece:
    """Words that are never divided. Moments can start at `start` or end at `end`, in milliseconds.

    `first` and `last` are the numbers of its first and last line. `opens` and `closes` are whether
    it begins the first and ends the last. `silence` is the silence before it, in seconds.
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
    """Everything that is said, in lines and pieces, and the limits of a moment's length.

    `shortest`, `longest`, `target` and `length`, that of the video, are in milliseconds.
    """

    lines: tuple[Line, ...]
    pieces: tuple[Piece, ...]
    shortest: int
    longest: int
    target: int
    length: int
    language: str | None = None

    @classmethod
    def of(cls, words: Sequence[Word], brief: Brief, language: str | None = None) -> "Speech":
        """The pieces of `words`: sentences; those longer than the target are divided between words.

        So a moment that is too short without a piece is never too long with it. Words that are
        blank or begin after the end of the video are ignored.
        """
        end, start = brief.end, brief.between[0] if brief.between else 0
        limit = None if end is None else int(end * 1_000_000)
        said = [word for word in words if word.text.strip() and _is_within(word, brief)]
        said = sorted(
            (word for word in said if limit is None or _microseconds(word.start) < limit),
            key=lambda word: word.start,
        )
        spoken = sentences(said, language)
        shortest, longest = brief.bounds
        # A moment that is too short without a piece must not be too long with it.
        most = min(brief.target_seconds, longest - shortest)
        pauses = _pauses(said, limit, int(start * 1_000_000))
        divider = _Divider(spoken, pauses, int(most * 1000))
        pieces = tuple(divider.piece(part) for part in divider.parts())
        last = pieces[-1].end if pieces else 0
        return cls(
            lines=tuple(spoken),
            pieces=pieces,
            shortest=-int(-shortest * 1000 // 1),
            longest=int(longest * 1000),
            target=int(brief.target_seconds * 1000),
            length=(last if limit is None else limit // 1000) - int(start * 1000),
            language=language,
        )

    def fits(self, first: int, last: int) -> bool:
        """Whether pieces `first` to `last` make a moment that is neither too short nor too long."""
        return self.shortest <= self.milliseconds(first, last) <= self.longest

    def covering(self, first: int, last: int) -> PieceRange:
        """The pieces that contain lines `first` to `last`."""
        inside = [n for n, p in enumerate(self.pieces) if p.first <= last and p.last >= first]
        return PieceRange(inside[0], inside[-1])

    def title(self, span: PieceRange, weights: Sequence[float] | NDArray[np.float64]) -> str:
        """A title from the sentences of `span`; `weights` has the weight of each of its pieces."""
        found: list[tuple[list[Word], float]] = []
        for piece, weight in zip(
            self.pieces[span.first : span.last + 1], map(float, weights), strict=True
        ):
            if piece.opens or not found:
                found.append((list(piece.words), weight))
            else:
                words, before = found[-1]
                found[-1] = ([*words, *piece.words], max(before, weight))
        texts = [without_fillers(words, self.language) for words, _ in found]
        return title_of(texts, [weight for _, weight in found])

    def milliseconds(self, first: int, last: int) -> int:
        return self.pieces[last].end - self.pieces[first].start


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _is_within(word: Word, brief: Brief) -> bool:
    """Whether all of the word is in the part of the video to choose from."""
    return not brief.between or brief.between[0] <= word.start <= word.end <= brief.between[1]


def _pauses(words: Sequence[Word], limit: int | None, begin: int = 0) -> list[Pause]:
    """The pause before each word, from `begin` on, and the one after the last word."""
    if not words:
        return []
    starts = [_microseconds(word.start) for word in words]
    ends = [max(_microseconds(word.start), _microseconds(word.end)) for word in words]
    # A word may last longer than the words after it. Silence begins once all of them have ended.
    reached = list(accumulate(ends if limit is None else [min(e, limit) for e in ends], max))
    close = reached[-1] + 2 * _BREATH_AFTER if limit is None else limit
    return [Pause(*pause) for pause in zip([begin, *reached], [*starts, close], strict=True)]


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


class _Divider:
    """Divides words into parts. A part is a range of word numbers."""

    def __init__(self, spoken: Sequence[Line], pauses: Sequence[Pause], target: int) -> None:
        self.pauses = pauses
        self.target = target
        self.words = [word for line in spoken for word in line.words]
        self.line_of = [n for n, line in enumerate(spoken) for _ in line.words]
        self.starts = {0, *accumulate(len(line.words) for line in spoken)}

    def parts(self) -> list[range]:
        """The lines as parts. Lines that overlap are one part, and a long line is several."""
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
        """The word before which to divide a part that is longer than the target, else None.

        It is the word after the longest silence.
        """
        if self._end(part.stop) - self._start(part.start) <= self.target:
            return None
        inside = range(part.start + 1, part.stop)
        able = [at for at in inside if self._is_whole(at)]
        # Without any pause, divide between words that hardly overlap, preferably between lines.
        able = able or [at for at in inside if self.pauses[at].silence >= -_TOLERANCE]
        centre = part.start + part.stop
        return max(able, key=lambda at: self._ease(at, centre), default=None)

    def _ease(self, at: int, centre: int) -> tuple[bool, int, int]:
        pause = self.pauses[at]
        return not pause.milliseconds and at in self.starts, pause.silence, -abs(2 * at - centre)
