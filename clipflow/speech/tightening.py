"""Tightening: decides which fillers and silences of a short are taken out.

The decision depends on the words and the level of the sound. Cuts are at the times of the short's
frames, so that each kept piece begins and ends with a frame.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from clipflow.domain.removals import Removal, RemovalKind, TimeRange, is_filler
from clipflow.domain.transcript import PAUSE, Word

# Seconds. A longer silence is shortened to `KEPT_SILENCE`. The limit is the silence that ends a
# line of the transcript: shorter ones are within a sentence and part of a person's rhythm of
# speech. After a silence of 0.3 s, a listener still notices that a new sentence begins.
LONGEST_SILENCE, KEPT_SILENCE = Fraction(str(PAUSE)), Fraction(3, 10)
# Seconds between a cut and a word that is kept: the median error of an aligner.
MARGIN = Fraction(1, 50)
# Seconds of the shortest cut, because a shorter one saves less than a visible jump is worth; and of
# the shortest piece between two cuts, because a shorter one looks like a flash.
SHORTEST_CUT, SHORTEST_PIECE = Fraction(1, 10), Fraction(2, 5)
# Seconds beside a word in which its end is searched if a filler follows or precedes it directly.
_REACH = Fraction(2, 25)
# Levels are measured for every hundredth of a second, and averaged with two on both sides: together
# longer than a period of the deepest voice.
LEVELS_PER_SECOND = 100
_AROUND = 2
# Decibels by which the sound must be quieter than the loud part of the words: in a silence, and at
# the place where a filler is separated from a word.
_SILENCE, _DIP = 8.0, 3.0
# The percentiles of the levels that are the noise, and the loud part of the words. Noise that is
# quieter than `_RANGE` decibels below the words does not count, as digital silence has no level.
_NOISE, _LOUD, _RANGE = 5, 75, 50.0
# Decibels. Words that are quieter are not in the sound at all.
_NO_SOUND = -100.0


@dataclass(frozen=True)
class SpokenWord:
    """A word with its number in the transcript, and its times in seconds from the short's start."""

    number: int
    text: str
    start: Fraction
    end: Fraction
    is_filler: bool


def spoken_words(
    words: Sequence[Word], shown: Mapping[int, str], span: TimeRange, language: str | None
) -> list[SpokenWord]:
    """Those of the recognised `words` whose middle is in `span`, sorted by their starts.

    `shown` has the text that is shown for each word, by the words' numbers. A word that was
    corrected to anything but a filler is not a filler; a hidden word counts as it was recognised.
    """
    found = []
    for number, word in enumerate(words):
        if not float(span.start) <= (word.start + word.end) / 2 < float(span.end):
            continue
        start, end = (Fraction(str(time)) - span.start for time in (word.start, word.end))
        start = max(Fraction(0), start)
        text = shown.get(number) or word.text
        end = min(span.duration, max(start, end))
        found.append(SpokenWord(number, text, start, end, is_filler(text, language)))
    return sorted(found, key=lambda word: word.start)


@dataclass(frozen=True)
class PlannedRemoval(TimeRange):
    """One part that is taken out, from one frame to another, in seconds from the short's start."""

    kind: RemovalKind
    word: SpokenWord

    @property
    def id(self) -> str:
        return f"{'w' if self.kind is RemovalKind.FILLER else 'p'}{self.word.number}"

    def removal(self, start: Fraction) -> Removal:
        """The removal from a short that begins at `start` of the video."""
        return Removal(
            id=self.id,
            kind=self.kind,
            word=self.word.number,
            text=self.word.text,
            start=round(float(start + self.start), 3),
            end=round(float(start + self.end), 3),
        )


class Loudness:
    """The level of a short's sound, and what is silence in it.

    `levels` are in decibels, one for each hundredth of a second of the short.
    """

    def __init__(self, levels: Sequence[float], words: Sequence[SpokenWord]) -> None:
        self._levels = _smooth(levels)
        places = [place for word in words for place in range(*self._places(word.start, word.end))]
        loud = float(np.percentile(self._levels[places], _LOUD)) if places else np.inf
        noise = max(float(np.percentile(self._levels, _NOISE)), loud - _RANGE)
        self._silence = min(loud - _SILENCE, (loud + noise) / 2)
        if loud < _NO_SOUND:
            # The words are from subtitles, and the video has no sound.
            self._silence = np.inf
        self._dip = loud - _DIP

    def at(self, time: Fraction) -> float:
        """The level at a time, in decibels."""
        return float(self._levels[self._places(time, time)[0]])

    def is_silent(self, time: Fraction) -> bool:
        return self.at(time) <= self._silence

    def is_dip(self, time: Fraction) -> bool:
        """Whether it is quiet enough at a time to cut there beside a word."""
        return self.at(time) <= self._dip

    def silence(self, gap: TimeRange) -> TimeRange:
        """The longest silence within `gap`; an empty range if there is none."""
        first, last = self._places(gap.start, gap.end)
        loud = np.flatnonzero(self._levels[first:last] > self._silence) + first
        runs = [(before + 1, after) for before, after in pairwise([first - 1, *loud, last])]
        start, end = max(runs, key=lambda run: run[1] - run[0], default=(first, first))
        return TimeRange(
            max(gap.start, Fraction(int(start), LEVELS_PER_SECOND)),
            min(gap.end, Fraction(int(end), LEVELS_PER_SECOND)),
        )

    def _places(self, start: Fraction, end: Fraction) -> tuple[int, int]:
        last = len(self._levels) - 1
        return min(last, int(start * LEVELS_PER_SECOND)), min(
            last + 1, -int(-end * LEVELS_PER_SECOND // 1)
        )


def _smooth(levels: Sequence[float]) -> NDArray[np.float64]:
    power = 10 ** (np.asarray(levels, dtype=np.float64) / 10)
    window = np.ones(2 * _AROUND + 1)
    count = np.convolve(np.ones(len(power)), window, "same")
    return 10 * np.log10(np.maximum(np.convolve(power, window, "same") / count, 1e-12))


@dataclass(frozen=True)
class _Gap(TimeRange):
    """The time between two words that are kept; one is None at an end of the short."""

    before: SpokenWord | None
    after: SpokenWord | None


@dataclass(frozen=True)
class _Found(TimeRange):
    """One cut with the fillers in it, or with the word after a silence."""

    kind: RemovalKind
    words: tuple[SpokenWord, ...]

    def cuts(self, grid: Sequence[Fraction]) -> list[PlannedRemoval]:
        """A cut for each filler, together the whole."""
        turns = [
            next(time for time in grid if time >= (one.end + other.start) / 2)
            for one, other in pairwise(self.words)
        ]
        edges = [self.start, *(min(max(t, self.start), self.end) for t in turns), self.end]
        return [
            PlannedRemoval(start, end, self.kind, word)
            for (start, end), word in zip(pairwise(edges), self.words, strict=True)
        ]


def decide(
    words: Sequence[SpokenWord],
    grid: Sequence[Fraction],
    loudness: Loudness,
    restored: Collection[str] = (),
    shortest: Fraction = Fraction(0),
) -> list[PlannedRemoval]:
    """The cuts of a short, in order, without the removals that are put back by their ids.

    A filler is taken out if it can be cut off its neighbours: together with the silence around it,
    of which `KEPT_SILENCE` stays at most. A silence of more than `LONGEST_SILENCE` between two
    words is shortened to `KEPT_SILENCE`. No cut comes nearer to a word that is kept than `MARGIN`.

    Args:
        words: by their starts.
        grid: the sorted times at which a cut may begin or end: of the short's frames, and its end.
        shortest: seconds that remain at least, if the short has that many: fillers are taken out
            first, then the longest silences.
    """
    return _Decision(words, grid, loudness, shortest).cuts(restored)


def restorable(
    words: Sequence[SpokenWord],
    grid: Sequence[Fraction],
    loudness: Loudness,
    restored: Collection[str],
    shortest: Fraction = Fraction(0),
) -> list[PlannedRemoval]:
    """The cuts that would be made in addition if no removal were put back, in order."""
    decision = _Decision(words, grid, loudness, shortest)
    found = [
        cut
        for id in restored
        for cut in decision.cuts([other for other in restored if other != id])
        if cut.id == id
    ]
    return sorted(found, key=lambda cut: (cut.start, cut.id))


class _Decision:
    def __init__(
        self,
        words: Sequence[SpokenWord],
        grid: Sequence[Fraction],
        loudness: Loudness,
        shortest: Fraction,
    ) -> None:
        self._words, self._grid, self._loudness = words, grid, loudness
        self._end = grid[-1]
        # A short that is shorter already, because a person has chosen its times, has no limit.
        self._removable = self._end - shortest if shortest <= self._end else self._end

    def cuts(self, restored: Collection[str]) -> list[PlannedRemoval]:
        kept = set(restored)
        while True:
            found, impossible = self._found(kept)
            impossible = impossible or _too_near(found, self._end)
            if not impossible:
                return [cut for each in self._affordable(found) for cut in each.cuts(self._grid)]
            # Fillers that cannot be taken out are kept, and count as words from then on.
            kept |= impossible

    def _affordable(self, found: Sequence[_Found]) -> list[_Found]:
        """Those that leave the short as long as it has to be, in order."""
        left, chosen = self._removable, []
        for each in sorted(found, key=lambda cut: (cut.kind is RemovalKind.SILENCE, -cut.duration)):
            if each.duration <= left:
                left -= each.duration
                chosen.append(each)
        return sorted(chosen, key=lambda cut: cut.start)

    def _found(self, kept: Collection[str]) -> tuple[list[_Found], set[str]]:
        """The possible cuts, and the ids of the fillers that cannot be cut off."""
        fillers = [w for w in self._words if w.is_filler and f"w{w.number}" not in kept]
        found: list[_Found] = []
        inside: set[int] = set()
        impossible: set[str] = set()
        for gap in self._gaps([word for word in self._words if word not in fillers]):
            within = [w for w in fillers if _is_within(w, gap)]
            inside |= {word.number for word in within}
            if within:
                cut = self._filler_cut(gap, within)
                if cut is None:
                    impossible |= {f"w{word.number}" for word in within}
                else:
                    found.append(cut)
            elif gap.before and gap.after and f"p{gap.after.number}" not in kept:
                found += self._silence_cut(gap, gap.after)
        impossible |= {f"w{word.number}" for word in fillers if word.number not in inside}
        return found, impossible

    def _gaps(self, kept: Sequence[SpokenWord]) -> Iterator[_Gap]:
        reached, before = Fraction(0), None
        for word in (*kept, None):
            until = word.start if word else self._end
            if until > reached:
                yield _Gap(reached, until, before, word)
            if word and (before is None or word.end >= reached):
                reached, before = max(reached, word.end), word

    def _filler_cut(self, gap: _Gap, fillers: Sequence[SpokenWord]) -> _Found | None:
        """The cut of the fillers of one gap; None if they cannot be separated from other words."""
        begins, ends = fillers[0].start, max(word.end for word in fillers)
        start = self._start(gap, begins)
        end = self._stop(gap, ends)
        if start is None or end is None or end - start < SHORTEST_CUT:
            return None
        return _Found(start, end, RemovalKind.FILLER, tuple(fillers))

    def _start(self, gap: _Gap, begins: Fraction) -> Fraction | None:
        """The start of a cut of fillers that begin at `begins`; None if there is no quiet place."""
        loud = self._last_sound(gap.start, begins - _REACH)
        if gap.before is None and loud is None:
            return Fraction(0)
        edge = gap.start if loud is None else loud
        latest = max(min(begins, edge + KEPT_SILENCE / 2), edge + _REACH)
        places = [time for time in self._grid if edge + MARGIN <= time <= latest]
        return self._quiet_place(places[::-1])

    def _stop(self, gap: _Gap, ends: Fraction) -> Fraction | None:
        """The end of a cut of fillers that end at `ends`; None if there is no quiet place."""
        loud = self._first_sound(ends + _REACH, gap.end)
        if gap.after is None and loud is None:
            return self._end
        edge = gap.end if loud is None else loud
        earliest = min(max(ends, edge - KEPT_SILENCE / 2), edge - _REACH)
        places = [time for time in self._grid if earliest <= time <= edge - MARGIN]
        return self._quiet_place(places)

    def _quiet_place(self, places: Sequence[Fraction]) -> Fraction | None:
        """The first silent place, else the quietest one if it is a dip in the sound, else None."""
        for place in places:
            if self._loudness.is_silent(place):
                return place
        quietest = min(places, key=self._loudness.at, default=None)
        return quietest if quietest is not None and self._loudness.is_dip(quietest) else None

    def _last_sound(self, start: Fraction, end: Fraction) -> Fraction | None:
        """The end of the last sound between two times that is not a word, such as laughter."""
        return max(self._sounds(start, end), default=None)

    def _first_sound(self, start: Fraction, end: Fraction) -> Fraction | None:
        return min(self._sounds(start, end), default=None)

    def _sounds(self, start: Fraction, end: Fraction) -> list[Fraction]:
        # Words fade in and out beside their times.
        inside = [time for time in self._grid if start + _REACH <= time <= end - _REACH]
        return [time for time in inside if not self._loudness.is_silent(time)]

    def _silence_cut(self, gap: _Gap, after: SpokenWord) -> list[_Found]:
        silence = self._loudness.silence(gap)
        if silence.duration <= LONGEST_SILENCE:
            return []
        half = KEPT_SILENCE / 2
        inside = [t for t in self._grid if silence.start + half <= t <= silence.end - half]
        if not inside or inside[-1] - inside[0] < SHORTEST_CUT:
            return []
        return [_Found(inside[0], inside[-1], RemovalKind.SILENCE, (after,))]


def _is_within(word: SpokenWord, gap: _Gap) -> bool:
    """Whether the word is in the gap, within the error of an aligner."""
    return gap.start - MARGIN <= word.start and word.end <= gap.end + MARGIN


def _too_near(found: Sequence[_Found], end: Fraction) -> set[str]:
    """The ids of the shorter of two cuts that leave too little between them, or at an end."""
    edges = [None, *found, None]
    for before, after in pairwise(edges):
        start = before.end if before else Fraction(0)
        stop = after.start if after else end
        if start < stop and stop - start < SHORTEST_PIECE:
            both = [each for each in (before, after) if each]
            return _ids(min(both, key=lambda each: each.duration)) if both else set()
    # Everything is taken out.
    whole = len(found) == 1 and found[0].duration == end
    return _ids(found[0]) if whole else set()


def _ids(found: _Found) -> set[str]:
    letter = "w" if found.kind is RemovalKind.FILLER else "p"
    return {f"{letter}{word.number}" for word in found.words}
