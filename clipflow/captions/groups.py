"""The division of words into captions: which are shown together, in which rows and at which
size."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import pairwise
from math import ceil

from clipflow.captions.typefaces import Run, Typeface, clusters, runs, typeface_of
from clipflow.domain.caption_styles import CaptionStyle, Case, Emphasis
from clipflow.domain.transcript import Line, Word, is_unspaced, lines

# The font size in pixels that is comfortable to read on a phone, and the smallest legible one.
FULL_SIZE, SMALLEST_SIZE = 76, 44
# The most pixels of a row: from 160 to 920 of 1080, less the outline and overhanging glyphs.
ROW_WIDTH = 720
# The most pixels of a row with a box or a growing word, which need space at both ends.
_NARROWER_ROW = 660
# The control characters that are drawn: joiners and emoji tags. Others, such as bidirectional
# controls, would affect the text after them.
_KEPT_CONTROLS = "\u200c\u200d"
_TAGS = range(0xE0020, 0xE0080)


@dataclass(frozen=True)
class Fit:
    """How words are divided into captions: the font, its largest size and the row in pixels, and
    the most words and rows at once."""

    font: Typeface | None = None
    size: float = FULL_SIZE
    row_width: float = ROW_WIDTH
    words: float = 5.0
    rows: int = 2
    upper: bool = False

    @classmethod
    def of(cls, style: CaptionStyle, font: Typeface | None = None) -> "Fit":
        """The fit of a style whose font is `font`; None for the default one."""
        needs_room = style.box or {Emphasis.BOX, Emphasis.POP} & set(style.emphasis)
        return cls(
            font,
            style.size,
            _NARROWER_ROW if needs_room else ROW_WIDTH,
            style.words,
            style.rows,
            style.case is Case.UPPER,
        )

    @property
    def smallest(self) -> float:
        """The smallest size for several words."""
        return min(SMALLEST_SIZE, self.size)

    @property
    def ideal_words(self) -> float:
        return max(1.0, _IDEAL_SHARE * self.words)


@dataclass(frozen=True)
class Token:
    """A word, or a part of one that is too long for a row; times in seconds."""

    text: str
    start: Fraction
    end: Fraction
    continues: bool = False  # the previous token, within the same word
    font: Typeface | None = None

    @cached_property
    def runs(self) -> list[Run]:
        return runs(self.text, self.font)

    @cached_property
    def width(self) -> float:
        """The width in ems."""
        return sum(run.width for run in self.runs)

    def is_spaced_from(self, before: "Token") -> bool:
        joins = is_unspaced(before.text[-1]) and is_unspaced(self.text[0])
        return not (self.continues or joins)


def tokens(words: Sequence[Word], fit: Fit) -> list[Token]:
    """The drawable parts of `words`, in order."""
    return [token for word in words for token in _fitting_tokens(word, fit)]


def left_out(words: Sequence[Word], font: Typeface | None = None) -> list[str]:
    """The characters of `words` that no included font has, nor `font`, and that are not drawn."""
    characters = {part[0] for word in words for part in clusters(clean(word.text))}
    return sorted(character for character in characters if not typeface_of(character, font))


def capitals(text: str, font: Typeface | None = None) -> str:
    """`text` in capitals, without those that no font has, such as Georgian ones."""
    return "".join(
        upper if all(typeface_of(character, font) for character in upper) else part
        for part in text
        for upper in (part.upper(),)
    )


def clean(text: str) -> str:
    """`text` with single spaces and without control characters that could move or hide the rest."""
    return " ".join("".join(c for c in text if _is_drawn(c)).split())


def _is_drawn(character: str) -> bool:
    is_control = unicodedata.category(character) in ("Cc", "Cf", "Cs")
    return (
        not is_control
        or character.isspace()
        or character in _KEPT_CONTROLS
        or ord(character) in _TAGS
    )


def _fitting_tokens(word: Word, fit: Fit) -> list[Token]:
    """The word as tokens that fit a row; its time is divided by their numbers of characters."""
    text = clean(word.text)
    written = capitals(text, fit.font) if fit.upper else text
    parts = [part for part in clusters(written) if typeface_of(part[0], fit.font)]
    # From the decimal digits: as a float, 0.04 s would be slightly after the frame at 1/25 s.
    start, end = Fraction(str(word.start)), Fraction(str(max(word.start, word.end)))
    whole = Token("".join(parts).strip(), start, end, font=fit.font)
    if not whole.width:
        return []
    size = fit.size if is_unspaced(whole.text[0]) else fit.smallest
    count = min(len(parts), ceil(whole.width * size / fit.row_width))
    ends = [len(parts) * number // count for number in range(count + 1)]
    found = []
    for first, last in pairwise(ends):
        text = "".join(parts[first:last]).strip()
        begins, stops = (start + (end - start) * at / len(parts) for at in (first, last))
        found.append(Token(text, begins, stops, first > 0, fit.font))
    return [token for token in found if token.width]


# Seconds. During a shorter silence the caption stays, and a sentence of one word joins the next.
SHORT_GAP = 0.5
# The ideal number of words shown at once, as a share of the most. In a script without spaces, two
# characters count as one word.
_IDEAL_SHARE = 0.7
_WORDS_PER_CHARACTER = 0.5
# Costs relative to one word more or less than the ideal: a smaller font, and the reductions for a
# break at a pause or a comma.
_SHRINKING, _PAUSE, _COMMA = 60.0, 4.0, 1.0
_COMMAS = (",", ";", ":", "،", "、", "，", "؛", "–", "—")


@dataclass(frozen=True)
class Group:
    """The words that are shown at once, in one or two rows; `size` is the font size in pixels."""

    rows: tuple[tuple[Token, ...], ...]
    size: float

    @property
    def tokens(self) -> tuple[Token, ...]:
        return tuple(token for row in self.rows for token in row)


_DEFAULT_FIT = Fit()


def groups(words: Sequence[Word], fit: Fit = _DEFAULT_FIT) -> list[Group]:
    """All of `words` in the order they are said, by default two to five at a time if possible."""
    parts = _with_single_words_merged(lines(_in_turn(words)))
    return [group for part in parts for group in _divided(tokens(part, fit), fit)]


def _in_turn(words: Sequence[Word]) -> list[Word]:
    """`words` sorted by their starts, each ending when the next one starts, at the latest."""
    in_order = sorted(words, key=lambda word: word.start)
    cut = [
        word.model_copy(update={"end": max(word.start, min(word.end, following.start))})
        for word, following in pairwise(in_order)
    ]
    return [*cut, *in_order[-1:]]


def _with_single_words_merged(parts: list[Line]) -> list[tuple[Word, ...]]:
    """The lines' words; a line of one word is merged with an adjacent one of the same speaker."""
    merged: list[tuple[Word, ...]] = []
    for part in parts:
        before = merged[-1] if merged else ()
        single = before and 1 in (len(part.words), len(before))
        if single and _continues(before[-1], part.words[0]):
            merged[-1] = (*before, *part.words)
        else:
            merged.append(part.words)
    return merged


def _continues(word: Word, following: Word) -> bool:
    return word.speaker == following.speaker and following.start - word.end < SHORT_GAP


def _divided(said: list[Token], fit: Fit) -> list[Group]:
    """The cheapest division of a sentence into groups, by dynamic programming from its end."""

    @cache
    def best(first: int) -> tuple[float, tuple[Group, ...]]:
        if first == len(said):
            return 0.0, ()
        found = []
        for last in range(first + 1, len(said) + 1):
            part = said[first:last]
            if last > first + 1 and _word_count(part) > fit.words:
                break
            group = _arranged(part, fit)
            cost, rest = best(last)
            cost += _cost(group, fit) - (_break_value(said[last - 1], said[last]) if rest else 0)
            found.append((cost, (group, *rest)))
        return min(found, key=lambda division: division[0])

    # Filling the cache from the end keeps the recursion shallow for long sentences.
    for first in range(len(said), 0, -1):
        best(first)
    return list(best(0)[1])


def _arranged(said: list[Token], fit: Fit) -> Group:
    """One row if it fits at full size, else the two rows that are most equal in width."""
    ways = [((*said[:at],), (*said[at:],)) for at in range(1, len(said)) if fit.rows > 1]
    if width(said) * fit.size <= fit.row_width or not ways:
        return Group((tuple(said),), _size([said], fit))
    rows = min(ways, key=_widest)
    return Group(rows, _size(rows, fit))


def _size(rows: Sequence[Sequence[Token]], fit: Fit) -> float:
    return min(fit.size, fit.row_width / _widest(rows))


def _widest(rows: Sequence[Sequence[Token]]) -> float:
    return max(map(width, rows))


def width(row: Sequence[Token]) -> float:
    """The width of a row in ems, including the spaces between words."""
    spaces = sum(token.is_spaced_from(before) for before, token in pairwise(row))
    return sum(token.width for token in row) + spaces * space(row[0].font)


def space(font: Typeface | None) -> float:
    """The width of the space between two words, in ems."""
    face = typeface_of(" ", font)
    assert face
    return face.advances[" "]


def _cost(group: Group, fit: Fit) -> float:
    if group.size < fit.smallest and len(group.tokens) > 1:
        return float("inf")
    distance = _word_count(group.tokens) - fit.ideal_words
    return distance * distance + _SHRINKING * (fit.size / group.size - 1)


def _word_count(said: Sequence[Token]) -> float:
    return sum(map(_token_words, said))


def _token_words(token: Token) -> float:
    if not is_unspaced(token.text[0]):
        return 1.0
    return _WORDS_PER_CHARACTER * len(clusters(token.text))


def _break_value(token: Token, following: Token) -> float:
    silence = min(SHORT_GAP, max(0.0, float(following.start - token.end)))
    return _PAUSE * silence + (_COMMA if token.text.endswith(_COMMAS) else 0.0)


def visual_order(row: Sequence[Token], runs_left: bool) -> list[Token]:
    """The words of a row from left to right, as Unicode's algorithm (UAX 9) orders whole words."""
    runs: list[tuple[bool, list[Token]]] = []
    for token in row:
        classes = set(map(unicodedata.bidirectional, token.text))
        is_left = bool(classes & {"R", "AL"})
        is_neutral = not is_left and not classes & {"L", "EN", "AN"}
        if is_neutral:
            is_left = runs[-1][0] if runs else runs_left
        if runs and runs[-1][0] == is_left:
            runs[-1][1].append(token)
        else:
            runs.append((is_left, [token]))
    ordered = [tokens[::-1] if is_left else tokens for is_left, tokens in runs]
    return [token for part in (ordered[::-1] if runs_left else ordered) for token in part]
