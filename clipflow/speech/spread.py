"""Words of a text, and times for those that have none: a span shared out by length."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from clipflow.domain.transcript import Word, is_unspaced

# Unicode's categories of what stands before the character it belongs to.
_OPENING = ("Ps", "Pi")


@dataclass(frozen=True)
class Heard:
    """A word whose times, in seconds, may be unknown."""

    text: str
    start: float | None = None
    end: float | None = None
    score: float | None = None


def split(text: str) -> list[str]:
    """The words of `text`; of scripts without spaces the characters, each with its punctuation."""
    return [word for token in text.split() for word in _characters(token)]


def _characters(token: str) -> list[str]:
    words = [token[0]]
    for before, character in pairwise(token):
        if _begins(before, character):
            words.append(character)
        else:
            words[-1] += character
    return words


def _begins(before: str, character: str) -> bool:
    if not (is_unspaced(before) or is_unspaced(character)):
        return False
    if unicodedata.category(before) in _OPENING:
        return False
    category = unicodedata.category(character)
    return category[0] in "LN" or category in _OPENING


def spread(texts: Sequence[str], start: float, end: float) -> list[Word]:
    """`texts` as words that share `start`–`end` by their lengths."""
    total = sum(map(len, texts)) or 1
    ends = [0, *accumulate(map(len, texts))]
    times = [round(start + max(0.0, end - start) * at / total, 3) for at in ends]
    return [
        Word(text=text, start=begins, end=stops)
        for text, (begins, stops) in zip(texts, pairwise(times), strict=True)
    ]


def timed(heard: Sequence[Heard], start: float, end: float) -> list[Word]:
    """`heard` with all its times: words without them share what their neighbours leave free.

    `start` and `end` bound what comes before the first known time and after the last one.
    """
    words: list[Word] = []
    waiting: list[Heard] = []
    for one in heard:
        if one.start is None or one.end is None:
            waiting.append(one)
            continue
        words += _between(waiting, words[-1].end if words else start, one.start)
        waiting = []
        ends = max(one.start, one.end)
        words.append(Word(text=one.text, start=one.start, end=ends, score=one.score))
    return words + _between(waiting, words[-1].end if words else start, end)


def _between(waiting: Sequence[Heard], start: float, end: float) -> list[Word]:
    return spread([one.text for one in waiting], start, end) if waiting else []
