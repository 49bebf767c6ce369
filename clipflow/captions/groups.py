"""Words as groups of captions: which are shown together, in which rows and at which size."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import pairwise
from math import ceil

from clipflow.captions.typefaces import Run, clusters, runs, typeface_of
from clipflow.domain.transcript import Line, Word, is_unspaced, lines

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
    return [token for word in words for token in _fitting_tokens(word)]


def left_out(words: Sequence[Word]) -> list[str]:
    """The characters of `words` that no included font has: they are not drawn."""
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


def _fitting_tokens(word: Word) -> list[Token]:
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


# Seconds of silence: a shorter one neither parts a lone word from others nor blanks the screen.
SHORT_GAP = 0.5
# Words shown at once. Of a script without spaces two characters count as one word.
_MOST, _IDEAL = 5.0, 3.5
_UNSPACED_WORTH = 0.5
# How much worse than being a word off the ideal a smaller size is, and better a pause to break at.
_SHRINKING, _PAUSE, _COMMA = 60.0, 4.0, 1.0
_COMMAS = (",", ";", ":", "،", "、", "，", "؛", "–", "—")


@dataclass(frozen=True)
class Group:
    """What is on the screen at once: one or two rows, and the em's size in pixels."""

    rows: tuple[tuple[Token, ...], ...]
    size: float

    @property
    def tokens(self) -> tuple[Token, ...]:
        return tuple(token for row in self.rows for token in row)


def groups(words: Sequence[Word]) -> list[Group]:
    """All of `words`, in the order they are said: two to five at a time where that can be."""
    parts = _with_lone_words_joined(lines(_in_turn(words)))
    return [group for part in parts for group in _parted(tokens(part))]


def _in_turn(words: Sequence[Word]) -> list[Word]:
    """`words` by their starts, each at an end when the next one starts: one is lit up at a time."""
    in_order = sorted(words, key=lambda word: word.start)
    cut = [
        word.model_copy(update={"end": max(word.start, min(word.end, following.start))})
        for word, following in pairwise(in_order)
    ]
    return [*cut, *in_order[-1:]]


def _with_lone_words_joined(parts: list[Line]) -> list[tuple[Word, ...]]:
    """Sentences of one word, joined with the one before or after by the same speaker."""
    joined: list[tuple[Word, ...]] = []
    for part in parts:
        before = joined[-1] if joined else ()
        alone = before and (_is_lone(part.words) or _is_lone(before))
        if alone and _goes_on(before[-1], part.words[0]):
            joined[-1] = (*before, *part.words)
        else:
            joined.append(part.words)
    return joined


def _is_lone(words: tuple[Word, ...]) -> bool:
    return len(words) == 1


def _goes_on(word: Word, following: Word) -> bool:
    return word.speaker == following.speaker and following.start - word.end < SHORT_GAP


def _parted(said: list[Token]) -> list[Group]:
    """The division of a sentence that costs least, found from its end."""

    @cache
    def best(first: int) -> tuple[float, tuple[Group, ...]]:
        if first == len(said):
            return 0.0, ()
        found = []
        for last in range(first + 1, len(said) + 1):
            part = said[first:last]
            if last > first + 1 and _worth(part) > _MOST:
                break
            group = _arranged(part)
            cost, rest = best(last)
            cost += _cost(group) - (_break_worth(said[last - 1], said[last]) if rest else 0)
            found.append((cost, (group, *rest)))
        return min(found, key=lambda division: division[0])

    # From the end, so that no sentence is too long for Python's stack.
    for first in range(len(said), 0, -1):
        best(first)
    return list(best(0)[1])


def _arranged(said: list[Token]) -> Group:
    """In one row where it fits at full size, else in the two most alike."""
    ways = [((*said[:at],), (*said[at:],)) for at in range(1, len(said))]
    if width(said) * FULL_SIZE <= ROW_WIDTH or not ways:
        return Group((tuple(said),), _size([said]))
    rows = min(ways, key=_widest)
    return Group(rows, _size(rows))


def _size(rows: Sequence[Sequence[Token]]) -> float:
    return min(FULL_SIZE, ROW_WIDTH / _widest(rows))


def _widest(rows: Sequence[Sequence[Token]]) -> float:
    return max(map(width, rows))


def width(row: Sequence[Token]) -> float:
    """In ems, with the spaces between words."""
    spaces = sum(token.is_spaced_from(before) for before, token in pairwise(row))
    return sum(token.width for token in row) + spaces * _space()


@cache
def _space() -> float:
    face = typeface_of(" ")
    assert face
    return face.advances[" "]


def _cost(group: Group) -> float:
    if group.size < SMALLEST_SIZE and len(group.tokens) > 1:
        return float("inf")
    distance = _worth(group.tokens) - _IDEAL
    return distance * distance + _SHRINKING * (FULL_SIZE / group.size - 1)


def _worth(said: Sequence[Token]) -> float:
    return sum(map(_token_worth, said))


def _token_worth(token: Token) -> float:
    if not is_unspaced(token.text[0]):
        return 1.0
    return _UNSPACED_WORTH * len(clusters(token.text))


def _break_worth(token: Token, following: Token) -> float:
    silence = min(SHORT_GAP, max(0.0, float(following.start - token.end)))
    return _PAUSE * silence + (_COMMA if token.text.endswith(_COMMAS) else 0.0)
