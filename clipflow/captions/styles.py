"""The caption styles that come along, and reading a style of a user's own."""

from functools import cache

from clipflow.domain.caption_styles import (
    MAX_STYLE_BYTES,
    NO_CAPTIONS,
    STYLE_NAMES,
    STYLES_FOLDER,
    CaptionStyle,
)
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import parse_json

_REMEDY = "Correct it: docs/schemas/style.schema.json has its fields."


@cache
def packaged_style(name: str) -> CaptionStyle | None:
    """The style that comes along with this name; None for no captions.

    Raises KeyError if there is none.
    """
    if name not in STYLE_NAMES:
        raise KeyError(name)
    if name == NO_CAPTIONS:
        return None
    path = STYLES_FOLDER / f"{name}.json"
    return parse_style(path.read_bytes(), path.name)


def parse_style(text: bytes, name: str) -> CaptionStyle:
    """A `style.json`. Raises InvalidInputError naming the fields that are not valid."""
    if len(text) > MAX_STYLE_BYTES:
        raise InvalidInputError(f"{name} is larger than {MAX_STYLE_BYTES} bytes.", _REMEDY)
    return CaptionStyle.read(parse_json(text, name, _REMEDY), name)
