"""How a short looks: the caption style that its config names, read and checked."""

from dataclasses import dataclass
from pathlib import Path

from clipflow.captions.own_font import install_font
from clipflow.captions.typefaces import FOLDER, Typeface, display_typeface
from clipflow.domain.caption_styles import (
    MAX_FONT_BYTES,
    MAX_STYLE_BYTES,
    STYLE_NAMES,
    CaptionStyle,
    beside,
    packaged_style,
    parse_style,
)
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.shorts import ShortsConfig
from clipflow.jobs.fingerprints import Looks
from clipflow.machine import work_folder
from clipflow.storage.objects import ObjectHead, ObjectStore

_OWN_FONT = "own.font"


def chosen_looks(config: ShortsConfig, hook: str, objects: ObjectStore) -> Looks:
    """What a short of this config looks like, from objects that exist. `hook` is its text, which is
    shown if the config says so.

    Raises InvalidInputError, which names the field of the config, if one is not valid or is not
    there.
    """
    style, text = chosen_style(config.caption_style, objects), hook if config.hook else None
    if style is None or style.is_packaged_font:
        return Looks(style, hook=text)
    key = beside(config.caption_style, style.font)
    field = f"caption_style: {config.caption_style}: font"
    return Looks(style, _head(key, field, MAX_FONT_BYTES, objects), text)


def chosen_style(name: str, objects: ObjectStore) -> CaptionStyle | None:
    """The style of a `caption_style`: one that comes along, or an object; None for no captions.

    Raises InvalidInputError.
    """
    if name in STYLE_NAMES:
        return packaged_style(name)
    head = _head(name, "caption_style", MAX_STYLE_BYTES, objects)
    return parse_style(objects.data(head.key, MAX_STYLE_BYTES), f"caption_style: {name}")


def check_looks(config: ShortsConfig, objects: ObjectStore, scratch: Path) -> None:
    """Reads everything that a config's looks need. Raises InvalidInputError."""
    looks = chosen_looks(config, "", objects)
    if looks.font:
        with work_folder(scratch, looks.font.size) as folder:
            fetch_fonts(looks, objects, folder)


@dataclass(frozen=True)
class Fonts:
    """The typeface of a style, None for the default one, and the folder of all fonts."""

    typeface: Typeface | None
    folder: Path


def fetch_fonts(looks: Looks, objects: ObjectStore, folder: Path) -> Fonts:
    """The fonts that draw a style; a folder of links and the user's own font within `folder`.

    Raises InvalidInputError if the user's own font cannot be used.
    """
    if looks.font is None:
        return Fonts(display_typeface(looks.style.font) if looks.style else None, FOLDER)
    data = objects.data(looks.font.key, MAX_FONT_BYTES)
    fonts = folder / "fonts"
    fonts.mkdir()
    name = f"caption_style: font: {looks.font.key}"
    own = install_font(data, name, fonts / _OWN_FONT)
    for path in FOLDER.iterdir():
        (fonts / path.name).symlink_to(path)
    return Fonts(own, fonts)


def _head(key: str, field: str, limit: int, objects: ObjectStore) -> ObjectHead:
    head = objects.head(key)
    if head is None:
        raise InvalidInputError(
            f"{field}: there is no object {key}.", "Upload it, or correct the key."
        )
    if head.size > limit:
        raise InvalidInputError(f"{field}: {key} is larger than {limit} bytes.")
    return head
