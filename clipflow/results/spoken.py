"""The transcript as the page shows it: lines, and in them the words that became shorts."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from clipflow.domain.shorts import Short
from clipflow.domain.transcript import Transcript, Word, joined, lines
from clipflow.subtitles.cues import vtt_text


@dataclass(frozen=True)
class Run:
    """Words in a row that are in the same shorts; `gap` is what parts them from those before.

    `begins` and `ends` are the numbers of the shorts whose first and last words are here.
    """

    gap: str
    text: str
    shorts: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]


@dataclass(frozen=True)
class ShownLine:
    """One line; `start` in seconds, `speaker` where another one begins to speak."""

    start: float
    speaker: str | None
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Marks:
    """The numbers of the shorts that each word is in, and each short's first and last word."""

    shorts: list[tuple[int, ...]]
    first: dict[int, int]
    last: dict[int, int]

    @classmethod
    def of(cls, words: Sequence[Word], shorts: Sequence[Short]) -> "Marks":
        # A word is where its middle is, as in the short's own captions. Arrays, since hours of
        # words times hundreds of shorts are millions.
        middles = np.array([(word.start + word.end) / 2 for word in words])
        marked: list[tuple[int, ...]] = [()] * len(words)
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for short in shorts:
            inside = (float(short.start) <= middles) & (middles < float(short.end))
            for place in map(int, np.flatnonzero(inside)):
                marked[place] += (short.index,)
                first.setdefault(short.index, place)
                last[short.index] = place
        return cls(marked, first, last)

    def runs(self, words: Sequence[Word], start: int) -> Iterator[Run]:
        """A line's words, of which the first is the transcript's `start`-th."""
        done, before = 0, ""
        for shorts, group in groupby(range(len(words)), key=lambda at: self.shorts[start + at]):
            here = range(start + done, start + done + len(list(group)))
            done += len(here)
            # Of the whole line: whether a space stands between two words is their script's matter.
            whole = joined(words[:done])
            text, before = whole[len(before) :], whole
            said = text.lstrip()
            yield Run(
                gap=text[: len(text) - len(said)],
                text=said,
                shorts=shorts,
                begins=tuple(number for number in shorts if self.first[number] in here),
                ends=tuple(number for number in shorts if self.last[number] in here),
            )


def shown_lines(transcript: Transcript, marks: Marks) -> list[ShownLine]:
    """Every line of the transcript, with the words that `marks` tells of."""
    shown: list[ShownLine] = []
    place, speaker = 0, None
    for line in lines(transcript.words):
        says = line.words[0].speaker
        runs = tuple(marks.runs(line.words, place))
        shown.append(ShownLine(line.start, says if says != speaker else None, runs))
        place, speaker = place + len(line.words), says
    return shown


def captions(transcript: Transcript, marks: Marks, short: Short) -> str | None:
    """A short's words as WebVTT in a data: URI, for its player; None where nothing is said.

    Not a file: a page that lies on a disk may read no other.
    """
    if short.index not in marks.first:
        return None
    around = transcript.words[marks.first[short.index] : marks.last[short.index] + 1]
    spoken = Transcript(around).within(float(short.start), float(short.end))
    encoded = b64encode(vtt_text(spoken).encode()).decode()
    return f"data:text/vtt;base64,{encoded}"
