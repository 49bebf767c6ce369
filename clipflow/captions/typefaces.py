"""The fonts that come with clipflow: which one draws a character, and how wide.

libass would ask the machine for what a font lacks, so each piece of text names its font here.
"""

import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import regex
from fontTools.ttLib import TTFont

# Only fonts lie in here: libass tries to read every file. `fonts/README.md` says what they are.
FOLDER = Path(__file__).parent / "fonts" / "bold"
# Above and below the baseline, in ems, the same in all of them (`fonts/make_fonts.py`).
ROW_HEIGHT = 1.3
_FIRST, _LAST = "clipflow-sans", "clipflow-emoji"
# Thai and Lao vowels that are written before or behind the consonant they belong to.
_VOWELS_BEFORE = "เแโใไເແໂໃໄ"
_VOWELS_BEHIND = "ะาๅະາ"
# Unicode's grapheme clusters (UAX 29), and what they part that one font must draw together: those
# vowels; spacing marks of Myanmar (`\p{M}`); and consonants that are joined into one sign by a
# virama or a joiner, which UAX 29 keeps together in six of the scripts that do so. Flags have an
# alternative of their own, since `\X` counts a row of flags from its beginning for each of them.
_CLUSTER = regex.compile(
    rf"[{_VOWELS_BEFORE}]*(?:\p{{RI}}{{2}}|\X)"
    rf"(?:[\p{{M}}{_VOWELS_BEHIND}]|(?<=[\u200d\p{{ccc=9}}])\X)*"
)
# Marks that pile up above or below a letter (combining classes 230 and 220). Vietnamese and Hebrew
# need two of them; more than three would leave the row.
_PILE = regex.compile(r"([\p{ccc=230}\p{ccc=220}]{3})[\p{ccc=230}\p{ccc=220}]+")


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
    """`text` in the fonts that can draw it, without the characters that no included font has."""
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


def clusters(text: str) -> list[str]:
    """The parts of `text` that a reader takes for one character, and that one font must draw."""
    bounded: str = _PILE.sub(r"\1", unicodedata.normalize("NFC", text))
    return [match[0] for match in _CLUSTER.finditer(bounded)]


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
