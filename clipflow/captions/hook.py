"""The hook: a short's title, in rows on boxes, over its first seconds."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import pysubs2

from clipflow.captions.ass import (
    HOOK,
    HOOK_BOXES,
    LEFT_TO_RIGHT,
    RIGHT_TO_LEFT,
    Rectangle,
    colour_tags,
    drawn_text,
    event,
    family_tag,
    position,
    right_to_left_excess,
)
from clipflow.captions.groups import Token, clean, width
from clipflow.captions.typefaces import (
    ROW_HEIGHT,
    Typeface,
    clusters,
    display_typeface,
    typeface_of,
)
from clipflow.domain.safe_zones import Box, safe_box
from clipflow.domain.transcript import is_unspaced

logger = logging.getLogger(__name__)

# Seconds for which it is shown.
SECONDS = Fraction(3)
_FONT = "poppins"
_TEXT, _BOX = "#111318", "#FFFFFF"
# The font sizes in pixels that are tried, largest first, and the most rows with all of them but the
# smallest, with which a text has as many rows as it needs.
_SIZES, _ROWS = (72, 66, 60, 54, 48, 42, 38), 4
# The most pixels of a box: longer rows are hard to read in a wide picture.
_WIDEST = 960
# The distance of rows, and the box around a row: in ems.
_PITCH, _ACROSS, _DOWN, _RADIUS = 1.3, 0.34, 0.67, 0.22
# Pixels between a hook and anything that it must not cover, and the step of the search for a place.
_GAP, _STEP = 24, 20
# Milliseconds in which it appears and disappears.
_FADE = 120


@dataclass(frozen=True)
class Hook:
    """A text in rows, at a font size in pixels."""

    rows: tuple[tuple[Token, ...], ...]
    size: int

    @property
    def half_height(self) -> int:
        """The distance from its centre to the upper or lower edge of its boxes, in pixels."""
        return round(self.size * ((len(self.rows) - 1) * _PITCH / 2 + _DOWN))

    @property
    def half_width(self) -> int:
        """The distance from its centre to the left or right edge of its boxes, in pixels."""
        return round(self.size * (max(map(width, self.rows)) / 2 + _ACROSS))


@dataclass(frozen=True)
class PlacedHook:
    """A hook and its vertical centre in pixels from the top."""

    hook: Hook
    centre: int


def fit_hooks(text: str, size: tuple[int, int]) -> Iterator[Hook]:
    """The whole text in each size that fits a short of `size`, largest first; none without a text
    that the fonts can draw.

    Rows are about equally wide. Words that are wider than a row are divided.
    """
    shown = _drawable(text)
    safe, middle = safe_box(size), size[0] // 2
    widest = min(_WIDEST, 2 * min(middle - safe.left, safe.right - middle))
    for font_size in _SIZES:
        row = widest / font_size - 2 * _ACROSS
        tokens = _tokens(shown, row)
        if not tokens:
            return
        rows = _fewest_rows(tokens, row)
        if len(rows) <= _ROWS or font_size == _SIZES[-1]:
            yield Hook(_balanced(tokens, len(rows), row), font_size)


def placed_hook(
    text: str | None,
    size: tuple[int, int],
    faces: Iterable[tuple[float, Box]] = (),
    taken: Sequence[Box] = (),
) -> PlacedHook | None:
    """The hook for a text, with its place; None, with a log line, if it cannot be shown.

    It is within the safe area and covers none of the boxes in `taken`, such as those of captions.
    Of `faces`, which are times and places, it covers none if that is possible in any size, and
    else as little as possible, first of all of their eyes and mouths. Of the places that are as
    good, it has the largest size, and of those the highest place.
    """
    seen = [face for time, face in faces if time < SECONDS]
    best: tuple[tuple[float, float], PlacedHook] | None = None
    is_drawable = False
    for hook in fit_hooks(text or "", size):
        is_drawable = True
        for centre in _centres(hook, size, taken):
            covered = _covered(hook, centre, size, seen)
            if best is None or covered < best[0]:
                best = covered, PlacedHook(hook, centre)
        if best and best[0] == (0, 0):
            break
    if best is None:
        if is_drawable:
            logger.warning("There is no room for the hook.")
        return None
    return best[1]


def _centres(hook: Hook, size: tuple[int, int], taken: Sequence[Box]) -> list[int]:
    """The places for a hook that are within the safe area and away from all of `taken`."""
    box, half = safe_box(size), hook.half_height
    return [
        y
        for y in range(box.top + half, box.bottom - half + 1, _STEP)
        if not any(_spans(y, half).overlaps(other) for other in taken)
    ]


# The part of a face between the eyebrows and the chin, as shares of its height.
_EYES, _CHIN = 0.2, 0.9


def _covered(
    hook: Hook, centre: int, size: tuple[int, int], faces: Sequence[Box]
) -> tuple[float, float]:
    """The shares of eyes and mouths, and of whole faces, that a hook covers, added up.

    Shares of their height: a hook that is beside the middle of a face hides it as well.
    """
    middle, half = size[0] // 2, hook.half_height
    box = Box(middle - hook.half_width, centre - half, middle + hook.half_width, centre + half)
    features = faces_covered = 0.0
    for face in faces:
        if not box.overlaps(face):
            continue
        top, bottom = (face.top + round(share * face.height) for share in (_EYES, _CHIN))
        features += max(0, min(bottom, box.bottom) - max(top, box.top)) / face.height
        faces_covered += (min(face.bottom, box.bottom) - max(face.top, box.top)) / face.height
    return features, faces_covered


def _spans(centre: int, half: int) -> Box:
    # Wider than any picture, because nothing may be beside a hook.
    return Box(0, centre - half - _GAP, 1 << 14, centre + half + _GAP)


def hook_events(hook: Hook, size: tuple[int, int], centre: int, end: int) -> list[pysubs2.SSAEvent]:
    """The events that draw a hook from the first frame to `end` milliseconds."""
    middle = (len(hook.rows) - 1) / 2
    text = "".join(token.text for row in hook.rows for token in row)
    direction = RIGHT_TO_LEFT if right_to_left_excess(text) > 0 else LEFT_TO_RIGHT
    x = size[0] / 2
    fade = f"{{\\fad({_FADE if end > 4 * _FADE else 0},{_FADE if end > 4 * _FADE else 0})}}"
    found = []
    for number, row in enumerate(hook.rows):
        y = centre + (number - middle) * _PITCH * hook.size
        half = width(row) * hook.size / 2 + _ACROSS * hook.size
        down = _DOWN * hook.size
        rectangle = Rectangle(x - half, y - down, x + half, y + down, _RADIUS * hook.size)
        found.append(event(0, end, fade + rectangle.text(_BOX), HOOK_BOXES))
        tags = f"{position(x, y)}\\fs{hook.size * ROW_HEIGHT:.1f}\\bord0{colour_tags(1, _TEXT, '')}"
        drawn = family_tag(" ", _font()) + direction
        for before, token in zip((None, *row), row, strict=False):
            if before and token.is_spaced_from(before):
                drawn += family_tag(" ", _font()) + " "
            drawn += drawn_text(token.runs)
        found.append(event(0, end, f"{{{tags}}}{fade}{drawn}", HOOK))
    return found


@cache
def _font() -> Typeface | None:
    return display_typeface(_FONT)


def _drawable(text: str) -> str:
    """A text without the characters that no font has, which are logged."""
    words, missing = [], []
    for word in clean(text).split(" "):
        parts = clusters(word)
        missing += [part[0] for part in parts if not typeface_of(part[0], _font())]
        words.append("".join(part for part in parts if typeface_of(part[0], _font())))
    if missing:
        logger.warning("A hook omits characters that no font has: %s.", _codes(missing))
    return " ".join(filter(None, words))


def _tokens(text: str, row: float) -> list[Token]:
    """The words of a text, and parts of those that are wider than a `row` of ems.

    In a script without spaces, each character is a part.
    """
    return [token for word in text.split(" ") for token in _word_tokens(clusters(word), row)]


def _codes(characters: Sequence[str]) -> str:
    return ", ".join(f"U+{ord(character):04X}" for character in sorted(set(characters)))


def _word_tokens(parts: Sequence[str], row: float) -> list[Token]:
    found: list[Token] = []
    for part in parts:
        last = found[-1] if found else None
        joined = _token(
            (last.text if last else "") + part, continues=last.continues if last else False
        )
        apart = last and is_unspaced(last.text[-1]) and is_unspaced(part[0])
        if last and not apart and joined.width <= row:
            found[-1] = joined
        else:
            found.append(_token(part, continues=bool(found) and not apart))
    return [token for token in found if token.width]


def _token(text: str, *, continues: bool) -> Token:
    return Token(text, Fraction(0), Fraction(0), continues, _font())


def _fewest_rows(tokens: Sequence[Token], row: float) -> list[list[Token]]:
    rows: list[list[Token]] = []
    for token in tokens:
        if rows and width([*rows[-1], token]) <= row:
            rows[-1].append(token)
        else:
            rows.append([token])
    return rows


# Ems by which the width of a row is reduced until a text would need more rows.
_NARROWING = 0.25


def _balanced(tokens: Sequence[Token], count: int, row: float) -> tuple[tuple[Token, ...], ...]:
    """The text in `count` rows, the widest of which is as narrow as possible."""
    best = _fewest_rows(tokens, row)
    while row > _NARROWING:
        row -= _NARROWING
        rows = _fewest_rows(tokens, row)
        if len(rows) > count or max(map(width, rows)) > row:
            break
        best = rows
    return tuple(map(tuple, best))
