"""The fonts of captions: which one draws a character, how wide it is, and checks of a user's font.

Each run of text names its font, because libass would otherwise look for missing characters in the
fonts of the machine. The renderer never reads a user's font file itself. It reads a copy with the
same outlines, which has a name given by clipflow, one table of characters and the vertical metrics
of the included fonts, and no bitmaps, hints, variations or programs.
"""

import unicodedata
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import regex
from fontTools.ttLib import TTFont

from clipflow.domain.caption_styles import DEFAULT_FONT, FONTS_FOLDER, MAX_FONT_BYTES
from clipflow.domain.errors import InvalidInputError
from clipflow.media.isolation import isolated
from clipflow.media.limits import limits

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


OWN_FAMILY = "Clipflow Own"
# The first four bytes of a file with a single font: TrueType, OpenType with CFF, Apple's TrueType.
# Collections and compressed fonts (WOFF) begin with other bytes.
_SIGNATURES = (b"\0\1\0\0", b"OTTO", b"true")
_NEEDED_TABLES = ("head", "hhea", "maxp", "hmtx", "cmap", "name", "OS/2", "post")
_OUTLINE_TABLES = ({"glyf", "loca"}, {"CFF "})
_KEPT_TABLES = {*_NEEDED_TABLES, "glyf", "loca", "CFF ", "GDEF", "GSUB", "GPOS"}
# The time in seconds and the memory in bytes that reading a font may take. The largest Chinese
# fonts take a few seconds and some hundred megabytes.
_SECONDS, _MEMORY = 30, 2 << 30
# The most characters of a table. Unicode has fewer, but a table with repeated ranges could have
# billions.
_MOST_CHARACTERS = 300_000
# The bounds of the median width of a font's characters in ems, which is about 0.3 in the narrowest
# fonts for text, and 1 in Chinese ones. Captions measure text by these widths: with another em,
# letters would fill the picture or disappear.
_NARROWEST, _WIDEST = 0.05, 3.0
# In ems, equal for all fonts, so that a font size has the same row height in every script.
_ASCENT, _DESCENT = 1.0, ROW_HEIGHT - 1.0


def install_font(data: bytes, name: str, path: Path) -> Typeface:
    """Writes a plain copy of the font file `data` to `path`, and returns its typeface.

    Raises InvalidInputError, which begins with `name`, if it is not a font that can be used.
    """
    if len(data) > MAX_FONT_BYTES:
        raise InvalidInputError(f"{name} is larger than {MAX_FONT_BYTES >> 20} MiB.")
    if data[:4] not in _SIGNATURES:
        raise InvalidInputError(
            f"{name} is not a TrueType or OpenType font.", "Use a .ttf or .otf file of one font."
        )
    return isolated(name, _install_font, data, name, path)


def _install_font(data: bytes, name: str, path: Path) -> Typeface:
    try:
        with limits(_SECONDS, _MEMORY), TTFont(BytesIO(data)) as font:
            _check_font(font, name)
            _rewrite_font(font)
            font.recalcTimestamp = font.recalcBBoxes = False
            font.save(path)
            return typeface(font)
    except InvalidInputError:
        raise
    # fontTools raises whatever a malformed table makes its code raise.
    except Exception as error:  # noqa: BLE001
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InvalidInputError(f"{name} is not a valid font: {why}.", "Use another one.") from None


def _check_font(font: TTFont, name: str) -> None:
    there = set(font.keys())
    missing = [tag for tag in _NEEDED_TABLES if tag not in there]
    if missing or not any(tables <= there for tables in _OUTLINE_TABLES):
        what = ", ".join(missing) or "outlines"
        raise InvalidInputError(f"{name} is not a valid font: it has no {what}.")
    if not 16 <= font["head"].unitsPerEm <= 16_384:
        raise InvalidInputError(f"{name} is not a valid font: its em has no valid size.")
    metrics = font["hmtx"].metrics
    widths = [metrics[glyph][0] for glyph in font.getBestCmap().values() if glyph in metrics]
    if not widths:
        raise InvalidInputError(f"{name} is not a font for text: it names no characters.")
    ems = median(widths) / font["head"].unitsPerEm
    if not _NARROWEST <= ems <= _WIDEST:
        raise InvalidInputError(
            f"{name} is not a font for text: most of its characters are {ems:.1f} ems wide."
        )


def _rewrite_font(font: TTFont) -> None:
    characters = font.getBestCmap()
    if len(characters) > _MOST_CHARACTERS:
        raise ValueError("it has too many characters")
    for tag in set(font.keys()) - _KEPT_TABLES - {"GlyphOrder"}:
        del font[tag]
    metrics: Any = font["hmtx"].metrics
    unusable = [code for code, glyph in characters.items() if glyph not in metrics]
    for code in unusable:
        del characters[code]
    tables = [table for table in font["cmap"].tables if table.isUnicode()]
    # libass 0.17.1 reads the first table only.
    font["cmap"].tables = [max(tables, key=lambda table: len(table.cmap))]
    font["cmap"].tables[0].cmap = characters
    _set_names(font)
    set_vertical_metrics(font)


def _set_names(font: TTFont) -> None:
    names = font["name"]
    names.names = []
    texts = {1: OWN_FAMILY, 2: "Bold", 3: OWN_FAMILY, 4: OWN_FAMILY, 6: OWN_FAMILY.replace(" ", "")}
    for key, text in texts.items():
        names.setName(text, key, 3, 1, 0x409)
    if "CFF " in font:
        outlines = font["CFF "].cff
        outlines.fontNames = [texts[6]]
        outlines.topDictIndex[0].FamilyName = outlines.topDictIndex[0].FullName = OWN_FAMILY


def set_vertical_metrics(font: TTFont) -> None:
    """Sets the ascent and descent of clipflow's fonts, in every table from which a renderer may
    read them, and their weight."""
    ascent, descent = (round(part * font["head"].unitsPerEm) for part in (_ASCENT, _DESCENT))
    line, metrics = font["hhea"], font["OS/2"]
    line.ascent, line.descent, line.lineGap = ascent, -descent, 0
    metrics.sTypoAscender, metrics.sTypoDescender, metrics.sTypoLineGap = ascent, -descent, 0
    metrics.usWinAscent, metrics.usWinDescent = ascent, descent
    metrics.usWeightClass = 700
