"""Checks a user's font file, and rewrites it as a plain font for the renderer.

The renderer never reads the file itself. It reads a copy with the same outlines, which has a name
given by clipflow, one table of characters and the vertical metrics of the included fonts, and no
bitmaps, hints, variations or programs.
"""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import FrameType
from typing import Any

from fontTools.ttLib import TTFont

from clipflow.captions.typefaces import ROW_HEIGHT, Typeface, typeface
from clipflow.domain.caption_styles import MAX_FONT_BYTES
from clipflow.domain.errors import InvalidInputError
from clipflow.media.isolation import isolated

FAMILY = "Clipflow Own"
# The first four bytes of a file with a single font: TrueType, OpenType with CFF, Apple's TrueType.
# Collections and compressed fonts (WOFF) begin with other bytes.
_SIGNATURES = (b"\0\1\0\0", b"OTTO", b"true")
_NEEDED = ("head", "hhea", "maxp", "hmtx", "cmap", "name", "OS/2", "post")
_OUTLINES = ({"glyf", "loca"}, {"CFF "})
_KEPT = {*_NEEDED, "glyf", "loca", "CFF ", "GDEF", "GSUB", "GPOS"}
# The time in seconds and the memory in bytes that reading a font may take. The largest Chinese
# fonts take a few seconds and some hundred megabytes.
_SECONDS, _MEMORY = 30, 2 << 30
# The most characters of a table. Unicode has fewer, but a table with repeated ranges could have
# billions.
_MOST_CHARACTERS = 300_000
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
    return isolated(name, _install, data, name, path)


def _install(data: bytes, name: str, path: Path) -> Typeface:
    try:
        with _limits(), TTFont(BytesIO(data)) as font:
            _check(font, name)
            _rewrite(font)
            font.recalcTimestamp = font.recalcBBoxes = False
            font.save(path)
            return typeface(font)
    except InvalidInputError:
        raise
    # fontTools raises whatever a malformed table makes its code raise.
    except Exception as error:  # noqa: BLE001
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InvalidInputError(f"{name} is not a valid font: {why}.", "Use another one.") from None


def _check(font: TTFont, name: str) -> None:
    there = set(font.keys())
    missing = [tag for tag in _NEEDED if tag not in there]
    if missing or not any(tables <= there for tables in _OUTLINES):
        what = ", ".join(missing) or "outlines"
        raise InvalidInputError(f"{name} is not a valid font: it has no {what}.")
    if not 16 <= font["head"].unitsPerEm <= 16_384:
        raise InvalidInputError(f"{name} is not a valid font: its em has no valid size.")
    if not font.getBestCmap():
        raise InvalidInputError(f"{name} is not a font for text: it names no characters.")


def _rewrite(font: TTFont) -> None:
    characters = font.getBestCmap()
    if len(characters) > _MOST_CHARACTERS:
        raise ValueError("it has too many characters")
    for tag in set(font.keys()) - _KEPT - {"GlyphOrder"}:
        del font[tag]
    metrics: Any = font["hmtx"].metrics
    unusable = [code for code, glyph in characters.items() if glyph not in metrics]
    for code in unusable:
        del characters[code]
    tables = [table for table in font["cmap"].tables if table.isUnicode()]
    # libass 0.17.1 reads the first table only.
    font["cmap"].tables = [max(tables, key=lambda table: len(table.cmap))]
    font["cmap"].tables[0].cmap = characters
    _name(font)
    set_vertical_metrics(font)


def _name(font: TTFont) -> None:
    names = font["name"]
    names.names = []
    texts = {1: FAMILY, 2: "Bold", 3: FAMILY, 4: FAMILY, 6: FAMILY.replace(" ", "")}
    for key, text in texts.items():
        names.setName(text, key, 3, 1, 0x409)
    if "CFF " in font:
        outlines = font["CFF "].cff
        outlines.fontNames = [texts[6]]
        outlines.topDictIndex[0].FamilyName = outlines.topDictIndex[0].FullName = FAMILY


def set_vertical_metrics(font: TTFont) -> None:
    """Sets the ascent and descent of clipflow's fonts, in every table from which a renderer may
    read them, and their weight."""
    ascent, descent = (round(part * font["head"].unitsPerEm) for part in (_ASCENT, _DESCENT))
    line, metrics = font["hhea"], font["OS/2"]
    line.ascent, line.descent, line.lineGap = ascent, -descent, 0
    metrics.sTypoAscender, metrics.sTypoDescender, metrics.sTypoLineGap = ascent, -descent, 0
    metrics.usWinAscent, metrics.usWinDescent = ascent, descent
    metrics.usWeightClass = 700


@contextmanager
def _limits() -> Iterator[None]:
    """Limits the time and the memory of this process, which does nothing else."""
    used = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, _timeout)
    signal.alarm(_SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + _MEMORY, used[1]))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, used)


def _timeout(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"reading it takes more than {_SECONDS} s")


def _address_space() -> int:
    """The bytes of address space that this process already uses."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 4 << 30
