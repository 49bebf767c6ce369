"""The included fonts: which one draws a character, and how wide it is.

Each run of text names its font, because libass would otherwise look for missing characters in the
fonts of the machine.
"""

import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import regex
from fontTools.ttLib import TTFont

from clipflow.domain.caption_styles import DEFAULT_FONT, FONTS_FOLDER

# This folder has only fonts, since libass tries to read every file. `fonts/README.md` lists them.
FOLDER = FONTS_FOLDER
# The height of a row in ems, which `fonts/make_fonts.py` makes equal in all fonts.
ROW_HEIGHT = 1.3
_FIRST, _LAST = "clipflow-sans", "clipflow-emoji"
# Fonts of caption styles, which no character falls back to.
_DISPLAY = "display-"
# Thai and Lao vowels that are written before or after their consonant.
_VOWELS_BEFORE = "เแโใไເແໂໃໄ"
_VOWELS_AFTER = "ะาๅະາ"
# Unicode's grapheme clusters (UAX 29), extended by what one font must draw together: these vowels,
# spacing marks of Myanmar (`\p{M}`), and consonants that a virama or a joiner joins into one sign,
# which UAX 29 keeps together in only six scripts. Flags are a separate alternative, since `\X`
# would count each flag of a long row from the beginning of the row, which takes quadratic time.
_CLUSTER = regex.compile(
    rf"[{_VOWELS_BEFORE}]*(?:\p{{RI}}{{2}}|\X)"
    rf"(?:[\p{{M}}{_VOWELS_AFTER}]|(?<=[\u200d\p{{ccc=9}}])\X)*"
)
# More than three marks above or below a letter (combining classes 230 and 220), which would not fit
# the row. Vietnamese and Hebrew need two.
_STACKED_MARKS = regex.compile(r"([\p{ccc=230}\p{ccc=220}]{3})[\p{ccc=230}\p{ccc=220}]+")


@dataclass(frozen=True, eq=False)
class Typeface:
    """One font: its name in ASS, and the advance of each character in ems."""

    family: str
    advances: dict[str, float]


@dataclass(frozen=True)
class Run:
    """Text in one font."""

    face: Typeface
    text: str

    @property
    def width(self) -> float:
        """The width in ems without ligatures, which make text narrower, hardly ever wider."""
        return sum(self.face.advances[character] for character in self.text)


def runs(text: str, first: Typeface | None = None) -> list[Run]:
    """`text` in the fonts that can draw it, without the characters that none has.

    `first` is the font of a style, which draws what it has.
    """
    drawn: list[tuple[Typeface, str]] = []
    for cluster in clusters(text):
        face = typeface_of(cluster[0], first)
        if face:
            # Combining characters that the font lacks, such as a keycap, are omitted.
            drawn.append((face, "".join(c for c in cluster if c in face.advances)))
    grouped = groupby(drawn, key=lambda part: part[0])
    return [Run(face, "".join(part for _, part in parts)) for face, parts in grouped]


def typeface_of(character: str, first: Typeface | None = None) -> Typeface | None:
    """`first` if it has the character, else the first included font that has; None if none has."""
    return first if first and character in first.advances else _fallback(character)


@cache
def _fallback(character: str) -> Typeface | None:
    return next((face for face in map(_opened, _paths()) if character in face.advances), None)


def display_typeface(name: str) -> Typeface | None:
    """The included font that a caption style names; None for the default one."""
    return None if name == DEFAULT_FONT else _opened(FOLDER / f"{_DISPLAY}{name}.ttf")


def clusters(text: str) -> list[str]:
    """The parts of `text` that readers see as one character and that one font must draw."""
    bounded: str = _STACKED_MARKS.sub(r"\1", unicodedata.normalize("NFC", text))
    return [match[0] for match in _CLUSTER.finditer(bounded)]


@cache
def _paths() -> list[Path]:
    found = {path.stem: path for path in sorted(FOLDER.iterdir())}
    others = [
        path
        for name, path in found.items()
        if name not in (_FIRST, _LAST) and not name.startswith(_DISPLAY)
    ]
    return [found[_FIRST], *others, found[_LAST]]


@cache
def _opened(path: Path) -> Typeface:
    with TTFont(path, lazy=True) as font:
        return typeface(font)


def typeface(font: TTFont) -> Typeface:
    """The typeface of an opened font."""
    em, metrics = font["head"].unitsPerEm, font["hmtx"].metrics
    glyphs = font.getBestCmap()
    advances = {chr(code): metrics[glyph][0] / em for code, glyph in glyphs.items()}
    return Typeface(font["name"].getDebugName(1), advances)
