"""The fonts that come with clipflow: which one draws a character, and how wide.

libass would ask the machine for what a font lacks, so each piece of text names its font here.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

from fontTools.ttLib import TTFont

# Only fonts lie in here: libass tries to read every file. `fonts/README.md` says what they are.
FOLDER = Path(__file__).parent / "fonts" / "bold"
# Above and below the baseline, in ems, the same in all of them (`fonts/make_fonts.py`).
ROW_HEIGHT = 1.3
_FIRST, _LAST = "clipflow-sans", "clipflow-emoji"
_JOINER = "\u200d"
# Zero-width joiner and non-joiner, skin tones, and the letters in the flag of a part of a country.
_EXTENDING = "\u200c\u200d" + "".join(
    map(chr, (*range(0x1F3FB, 0x1F400), *range(0xE0020, 0xE0080)))
)
# Thai and Lao vowels, written before or behind the consonant they belong to.
_VOWELS_BEFORE = "เแโใไເແໂໃໄ"
_VOWELS_BEHIND = "ะาำๅະາຳ"
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)
_VIRAMA = 9  # the combining class of what joins two consonants into one sign
_BELOW, _ABOVE = 220, 230  # the combining classes of marks that pile up
_HIGHEST_PILE = 3  # marks; Vietnamese and Hebrew need two, more would leave the row


@dataclass(frozen=True, eq=False)
class Typeface:
    """One font: the name ASS calls it by, and each character's advance in ems."""

    family: str
    advances: dict[str, float]


@dataclass(frozen=True)
class Run:
    """Text in one font."""

    face: Typeface
    text: str

    @property
    def width(self) -> float:
        """In ems, before letters join: that makes text narrower, hardly ever wider."""
        return sum(self.face.advances[character] for character in self.text)


def runs(text: str) -> list[Run]:
    """`text` in the fonts that can draw it, without the characters that no font of ours has."""
    drawn: list[tuple[Typeface, str]] = []
    for cluster in clusters(text):
        face = typeface_of(cluster[0])
        if face:
            # What extends a character and is not in its font, a keycap say, is no great loss.
            drawn.append((face, "".join(c for c in cluster if c in face.advances)))
    parted = groupby(drawn, key=lambda part: part[0])
    return [Run(face, "".join(part for _, part in parts)) for face, parts in parted]


@cache
def typeface_of(character: str) -> Typeface | None:
    """The first of our fonts that has the character."""
    return next((face for face in map(_opened, _paths()) if character in face.advances), None)


def clusters(text: str) -> Iterator[str]:
    """The parts of `text` that a reader takes for one character, and that one font must draw."""
    cluster = ""
    for character in unicodedata.normalize("NFC", text):
        if cluster and not _extends(character, cluster):
            yield cluster
            cluster = ""
        if not all(map(_piles, cluster[-_HIGHEST_PILE:] + character)) or not cluster:
            cluster += character
    if cluster:
        yield cluster


def _extends(character: str, cluster: str) -> bool:
    if ord(character) in _FLAG_LETTERS:
        return len(cluster) == 1 and ord(cluster) in _FLAG_LETTERS
    if unicodedata.category(character).startswith("M"):
        return True
    if character in _EXTENDING or character in _VOWELS_BEHIND:
        return True
    before = cluster[-1]
    joins = before == _JOINER or before in _VOWELS_BEFORE
    return joins or unicodedata.combining(before) == _VIRAMA


def _piles(character: str) -> bool:
    return unicodedata.combining(character) in (_BELOW, _ABOVE)


@cache
def _paths() -> list[Path]:
    found = {path.stem: path for path in sorted(FOLDER.iterdir())}
    others = [path for name, path in found.items() if name not in (_FIRST, _LAST)]
    return [found[_FIRST], *others, found[_LAST]]


@cache
def _opened(path: Path) -> Typeface:
    with TTFont(path, lazy=True) as font:
        em, metrics = font["head"].unitsPerEm, font["hmtx"].metrics
        glyphs = font.getBestCmap()
        advances = {chr(code): metrics[glyph][0] / em for code, glyph in glyphs.items()}
        return Typeface(font["name"].getDebugName(1), advances)
