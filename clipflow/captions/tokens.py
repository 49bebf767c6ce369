"""Words made ready to be drawn: cleaned, without what no font has, none too long for a row."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import ceil

from clipflow.captions.typefaces import Run, clusters, runs, typeface_of
from clipflow.domain.transcript import Word, is_unspaced

# Pixels of the em: what reads on a phone held at arm's length, and what still does.
FULL_SIZE, SMALLEST_SIZE = 76, 44
# Pixels that text fills at most: from 160 to 920 of 1080, without the outline and what overhangs.
ROW_WIDTH = 720
# Bidirectional controls and the like would turn around whatever follows them.
_KEPT_CONTROLS = "\u200c\u200d"
_TAGS = range(0xE0020, 0xE0080)


@dataclass(frozen=True)
class Token:
    """A word, or a part of one that is too long for a row; times in seconds."""

    text: str
    start: Fraction
    end: Fraction
    continues: bool = False  # the word that the token before is of

    @cached_property
    def runs(self) -> list[Run]:
        return runs(self.text)

    @cached_property
    def width(self) -> float:
        """In ems."""
        return sum(run.width for run in self.runs)

    def is_spaced_from(self, before: "Token") -> bool:
        joins = is_unspaced(before.text[-1]) and is_unspaced(self.text[0])
        return not (self.continues or joins)


def tokens(words: Sequence[Word]) -> list[Token]:
    """What can be drawn of `words`, in their order."""
    return [token for word in words for token in _parted(word)]


def left_out(words: Sequence[Word]) -> list[str]:
    """The characters of `words` that no font of ours has: they are not drawn."""
    characters = {part[0] for word in words for part in clusters(clean(word.text))}
    return sorted(character for character in characters if not typeface_of(character))


def clean(text: str) -> str:
    """`text` with single spaces, and without controls: none of it may move or hide the rest."""
    return " ".join("".join(c for c in text if _is_drawn(c)).split())


def _is_drawn(character: str) -> bool:
    is_control = unicodedata.category(character) in ("Cc", "Cf", "Cs")
    return (
        not is_control
        or character.isspace()
        or character in _KEPT_CONTROLS
        or ord(character) in _TAGS
    )


def _parted(word: Word) -> list[Token]:
    """The word as tokens that fit a row, sharing its time by their characters."""
    parts = [part for part in clusters(clean(word.text)) if typeface_of(part[0])]
    # Times are decimals: 0.04 s is the second frame of 25 a second, not a hair after it.
    start, end = Fraction(str(word.start)), Fraction(str(max(word.start, word.end)))
    whole = Token("".join(parts).strip(), start, end)
    if not whole.width:
        return []
    size = FULL_SIZE if is_unspaced(whole.text[0]) else SMALLEST_SIZE
    count = min(len(parts), ceil(whole.width * size / ROW_WIDTH))
    ends = [len(parts) * number // count for number in range(count + 1)]
    found = []
    for first, last in pairwise(ends):
        text = "".join(parts[first:last]).strip()
        begins, stops = (start + (end - start) * at / len(parts) for at in (first, last))
        found.append(Token(text, begins, stops, continues=first > 0))
    return [token for token in found if token.width]
