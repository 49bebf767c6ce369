"""`style.json`: the look of a short's captions; the included styles and fonts, by name."""

import re
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import ObjectKey, StrictModel, check_object_key, parse_json
from clipflow.domain.safe_zones import Platform

# The value of `caption_style` for no captions.
NO_CAPTIONS = "none"
DEFAULT_STYLE = "karaoke"
# The files of the included styles and fonts; configs name them without prefix and suffix.
STYLES_FOLDER = Path(__file__).parents[1] / "captions" / "styles"
FONTS_FOLDER = STYLES_FOLDER.parent / "fonts" / "bold"
_FONT_PREFIX, _FONT_SUFFIXES = "display-", (".ttf", ".otf")
DEFAULT_FONT = "sans"
# The maximum size of a style and of a font in bytes. Chinese fonts have up to 16 MB.
MAX_STYLE_BYTES, MAX_FONT_BYTES = 64 << 10, 24 << 20
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?")

STYLE_NAMES = (*sorted(path.stem for path in STYLES_FOLDER.glob("*.json")), NO_CAPTIONS)
FONT_NAMES = (
    DEFAULT_FONT,
    *sorted(path.stem.removeprefix(_FONT_PREFIX) for path in FONTS_FOLDER.glob("display-*.ttf")),
)


def _style(value: str) -> str:
    if value in STYLE_NAMES:
        return value
    if not value.endswith(".json"):
        raise ValueError(f"it is one of {', '.join(STYLE_NAMES)}, or the key of a style.json")
    return check_object_key(value)


def _font(value: str) -> str:
    if value in FONT_NAMES:
        return value
    if not value.lower().endswith(_FONT_SUFFIXES):
        raise ValueError(
            f"it is one of {', '.join(FONT_NAMES)}, or a .ttf or .otf file: its name beside the "
            "style, or its key"
        )
    return check_object_key(value)


def _colour(value: str) -> str:
    if not _COLOUR.fullmatch(value):
        raise ValueError("a colour is #RRGGBB or #RRGGBBAA")
    return value.upper()


# The name of an included style, or the key of a `style.json`.
StyleName = Annotated[
    str,
    AfterValidator(_style),
    WithJsonSchema(
        {"anyOf": [{"enum": list(STYLE_NAMES)}, {"type": "string", "pattern": r"\.json$"}]}
    ),
]
# The name of an included font, or a font file.
FontName = Annotated[
    str,
    AfterValidator(_font),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(FONT_NAMES)},
                {"type": "string", "pattern": r"\.([ot]tf|[OT]TF)$"},
            ]
        }
    ),
]
Colour = Annotated[
    str,
    AfterValidator(_colour),
    WithJsonSchema({"type": "string", "pattern": f"^{_COLOUR.pattern}$"}),
]


class Case(StrEnum):
    """How words are written: as they were recognised, or in capitals."""

    AS_SPOKEN = "as_spoken"
    UPPER = "upper"


class Emphasis(StrEnum):
    """What distinguishes the word that is being spoken: its colour, a box, or a short growth."""

    COLOUR = "colour"
    BOX = "box"
    POP = "pop"


class Position(StrEnum):
    """Where captions are. `auto` is the layout's own place, away from mouths."""

    AUTO = "auto"
    UPPER = "upper"
    MIDDLE = "middle"
    LOWER = "lower"


class StyleColours(StrictModel):
    """The colours of captions, as `#RRGGBB` or, with an opacity, `#RRGGBBAA`."""

    text: Colour = "#FFFFFF"
    spoken: Colour = "#FFE600"
    key: Colour = "#FFE600"
    outline: Colour = "#000000"
    shadow: Colour = "#000000B0"
    box: Colour = "#000000B0"
    spoken_box: Colour = "#7C3AED"


class CaptionStyle(StrictModel):
    """The whole of `style.json`. Lengths are pixels of a short's 1080 (or 1920) pixels of width."""

    version: Literal[1] = 1
    font: FontName = DEFAULT_FONT
    size: Annotated[int, Field(strict=True, ge=40, le=130)] = 76
    case: Case = Case.AS_SPOKEN
    colours: StyleColours = StyleColours()
    outline: Annotated[float, Field(strict=True, ge=0, le=16, allow_inf_nan=False)] = 6
    shadow: Annotated[float, Field(strict=True, ge=0, le=16, allow_inf_nan=False)] = 0
    # Whether each row has a box behind it.
    box: Annotated[bool, Field(strict=True)] = False
    # The most words that are shown at once, and the most rows they take.
    words: Annotated[int, Field(strict=True, ge=1, le=8)] = 5
    rows: Annotated[int, Field(strict=True, ge=1, le=2)] = 2
    # The distance between two rows, in font sizes.
    line_height: Annotated[float, Field(strict=True, ge=0.9, le=1.6, allow_inf_nan=False)] = 1.3
    emphasis: Annotated[tuple[Emphasis, ...], Field(max_length=3)] = (Emphasis.COLOUR,)
    # Whether the key word of a caption, a number or a long word, has a colour of its own.
    key_words: Annotated[bool, Field(strict=True)] = False
    position: Position = Position.AUTO
    # The platforms whose controls captions stay clear of.
    safe_zones: Annotated[tuple[Platform, ...], Field(max_length=3)] = tuple(Platform)

    @property
    def is_packaged_font(self) -> bool:
        return self.font in FONT_NAMES


def beside(document: str | None, name: str) -> ObjectKey:
    """The key of a file that the document at the key `document` names.

    A name without a slash is beside the document; others are keys, as is every name in a document
    without a key of its own.
    """
    folder, slash, _ = (document or "").rpartition("/")
    return f"{folder}{slash}{name}" if "/" not in name else name


_REMEDY = "Correct it: docs/schemas/style.schema.json has its fields."


@cache
def packaged_style(name: str) -> CaptionStyle | None:
    """The included style with this name; None for no captions.

    Raises KeyError if there is none.
    """
    if name not in STYLE_NAMES:
        raise KeyError(name)
    if name == NO_CAPTIONS:
        return None
    path = STYLES_FOLDER / f"{name}.json"
    return parse_style(path.read_bytes(), path.name)


def parse_style(text: bytes, name: str) -> CaptionStyle:
    """Parses a `style.json`. Raises InvalidInputError naming the fields that are not valid."""
    if len(text) > MAX_STYLE_BYTES:
        raise InvalidInputError(f"{name} is larger than {MAX_STYLE_BYTES} bytes.", _REMEDY)
    return CaptionStyle.read(parse_json(text, name, _REMEDY, unique_names=True), name)
