"""The fillers and silences that are taken out of a tightened short, and the time that remains."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache, cached_property
from itertools import accumulate
from typing import Annotated, Self
from unicodedata import category, normalize

from pydantic import Field

from clipflow.domain.model import Model
from clipflow.domain.transcript import Word


class RemovalKind(StrEnum):
    """What is taken out of a short."""

    FILLER = "filler"
    SILENCE = "silence"


# `w` and the number of a filler, or `p` and that of the word after a pause; words have their
# numbers in `original.words.json`.
RemovalId = Annotated[str, Field(pattern=r"^[wp](0|[1-9][0-9]{0,6})$")]


class Removal(Model):
    """One filler or silence: `start ≤ t < end` in seconds of the video.

    `word` is the number of the filler, or of the word after the silence, and `text` that word.
    """

    id: RemovalId
    kind: RemovalKind
    word: int
    text: str
    start: float
    end: float


class Tightening(Model):
    """What is taken out of a short, and what a person has put back; both in order.

    `ignored` has the ids that a person has put back, yet nothing with this id is taken out of the
    short; `seconds` is how much shorter the short is.
    """

    removed: tuple[Removal, ...] = ()
    restored: tuple[Removal, ...] = ()
    ignored: tuple[RemovalId, ...] = ()
    seconds: float = 0


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


# The sounds that people make while they think, such as "um": regular expressions of whole words in
# lower case, by ISO 639-1 code. Recognisers repeat letters if a sound is long. Only sounds without
# a meaning of their own are listed. Words that can carry one, such as "like", "you know", "well",
# "also" or "genre", are not: whether they do cannot be decided from the text. For the same reason
# "hmm", "mhm" and "uh-huh", which may be answers, "eh" where it asks for agreement, and "er" in
# German, which is a pronoun, are not listed.
_FILLERS = {
    "cs": r"e{2,}|e+h+m+|e+m{2,}",
    "da": r"ø+h+m*|ø{2,}h*m*|e+h+m+",
    "de": r"ä+h+m*|ä{2,}h*m*|ö+h+m*|e+h+m+",
    "el": r"ε{2,}μ*|εμ{2,}",
    "en": r"u+m+|u+h+|u+h+m+|e+rm+|er|er{3,}",
    "es": r"e+h?m+|e{3,}|u+h+m+",
    "fi": r"ö{2,}h*m*|ö+h+m*",
    "fr": r"e+u+h+m*|h+e+u+",
    "hu": r"ö{2,}|ő{2,}|ö+m+",
    "it": r"e+h+m+|u+h+m+",
    "ko": r"음+",
    "nl": r"e+u*h+m*|u+h+m*",
    "no": r"ø+h+m*|ø{2,}h*m*|e+h+m*",
    "pl": r"e{2,}|y{2,}|y+m+|e+h?m{2,}",
    "pt": r"ã+h+n*|é+h+|u+h+m+|a+h+m+",
    "ru": r"э{2,}м*|эм+",
    "sv": r"ö+h+m*|e+h+m*|ä+h+m+",
    "tr": r"ı{2,}|e{3,}",
    "uk": r"е{2,}м*|ем{2,}",
    "zh": r"呃+",
}
# Used if the language is unknown: the fillers of English that are not words in other languages.
_ANYWHERE = r"u+m{2,}|u+h+m+|e+h+m+|e+rm+"


def is_filler(text: str, language: str | None) -> bool:
    """Whether a word, with any punctuation around it, is a filler in a language (BCP 47)."""
    composed = normalize("NFC", text)
    bare = "".join(character for character in composed if category(character)[0] not in "PSZ")
    return bool(_pattern((language or "").lower().split("-")[0]).fullmatch(bare.casefold()))


def without_fillers(words: Sequence[Word], language: str | None) -> list[Word]:
    """The words as they are written in a text: without fillers, unless there are only these.

    The word after a filler gets its capital, and the one before it the mark that ends a sentence.
    """
    found: list[Word] = []
    is_capital = False
    for word in words:
        if is_filler(word.text, language):
            is_capital |= word.text[:1].isupper()
            if found and word.text[-1] in ".?!" and found[-1].text[-1:] not in ".?!":
                text = found[-1].text.rstrip(",;:") + word.text[-1]
                found[-1] = found[-1].model_copy(update={"text": text})
            continue
        if is_capital:
            word = word.model_copy(update={"text": word.text[:1].upper() + word.text[1:]})
        found.append(word)
        is_capital = False
    return found or list(words)


@cache
def _pattern(language: str) -> re.Pattern[str]:
    same = {"nb": "no", "nn": "no"}.get(language, language)
    return re.compile(_FILLERS.get(same, _ANYWHERE))
