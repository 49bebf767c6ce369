"""The caption style, the fonts and the brand that a config names; and where captions stand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipflow.captions.drawing import half_height
from clipflow.captions.hook import SECONDS
from clipflow.captions.typefaces import FOLDER, Typeface, display_typeface, install_font
from clipflow.domain.brands import MAX_BRAND_BYTES, Brand
from clipflow.domain.caption_styles import (
    MAX_FONT_BYTES,
    MAX_STYLE_BYTES,
    STYLE_NAMES,
    CaptionStyle,
    Position,
    beside,
    packaged_style,
    parse_style,
)
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import parse_json
from clipflow.domain.safe_zones import CAPTIONS_HALF, Box, clear_line
from clipflow.domain.shorts import ShortsConfig
from clipflow.jobs.brand import check_brand
from clipflow.jobs.fingerprints import Looks
from clipflow.machine import work_folder
from clipflow.reframe.crop import FramePlan
from clipflow.storage.objects import ObjectHead, ObjectStore

_OWN_FONT = "own.font"
# The largest file of an intro, an outro or music, and what checking them needs on the disk.
_MAX_FILE_BYTES, _CHECKED_BYTES = 2 << 30, 64 << 20


def chosen_looks(config: ShortsConfig, hook: str, objects: ObjectStore) -> Looks:
    """The looks of a short with this config. `hook` is shown if the config enables it.

    Raises InvalidInputError, which names the field of the config, if an object is not valid or does
    not exist.
    """
    style = chosen_style(config.caption_style, objects)
    font = None
    if style and not style.is_packaged_font:
        key = beside(config.caption_style, style.font)
        field = f"caption_style: {config.caption_style}: font"
        font = _head(key, field, MAX_FONT_BYTES, objects)
    brand = _brand(config.brand, objects)
    files = {
        name: _head(key, f"brand: {name}", _MAX_FILE_BYTES, objects)
        for name, key in (brand.files.items() if brand else ())
    }
    return Looks(style, font, hook if config.hook else None, brand, files)


def _brand(chosen: Brand | str | None, objects: ObjectStore) -> Brand | None:
    """The brand of a config, with the keys of its files. Raises InvalidInputError."""
    if not isinstance(chosen, str):
        return chosen and chosen.with_keys(None)
    head = _head(chosen, "brand", MAX_BRAND_BYTES, objects)
    text = objects.data(head.key, MAX_BRAND_BYTES)
    name = f"brand: {chosen}"
    return Brand.read(parse_json(text, name, "Correct it.", unique_names=True), name).with_keys(
        chosen
    )


def chosen_style(name: str, objects: ObjectStore) -> CaptionStyle | None:
    """The style of a `caption_style`: an included one, or an object; None for no captions.

    Raises InvalidInputError.
    """
    if name in STYLE_NAMES:
        return packaged_style(name)
    head = _head(name, "caption_style", MAX_STYLE_BYTES, objects)
    return parse_style(objects.data(head.key, MAX_STYLE_BYTES), f"caption_style: {name}")


def check_looks(config: ShortsConfig, objects: ObjectStore, scratch: Path) -> None:
    """Reads everything that a config's looks need. Raises InvalidInputError."""
    looks = chosen_looks(config, "", objects)
    if looks.font or looks.files:
        with work_folder(scratch, _CHECKED_BYTES) as folder:
            fetch_fonts(looks, objects, folder)
            if looks.brand:
                check_brand(looks.brand, looks.files, config.aspect.size, objects, folder)


@dataclass(frozen=True)
class Fonts:
    """The typeface of a style, None for the default one, and the folder of all fonts."""

    typeface: Typeface | None
    folder: Path


def fetch_fonts(looks: Looks, objects: ObjectStore, folder: Path) -> Fonts:
    """The fonts of a style. For a user's font, `folder` gets a folder with it and all other fonts.

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


# The places of captions, as shares of the height, for styles that choose one.
_LINES = {Position.UPPER: 0.2, Position.MIDDLE: 0.5, Position.LOWER: 0.68}


def captions_line(plan: FramePlan, style: CaptionStyle | None, size: tuple[int, int]) -> int:
    """The line on which a style centres captions, in pixels from the top."""
    if style is None:
        return plan.captions_centre
    half, lips, eyes = half_height(style), _heights(plan.lips), _heights(plan.eyes)
    if style.position is Position.AUTO:
        if half <= CAPTIONS_HALF:
            return plan.captions_centre
        return clear_line(lips, plan.captions_centre, half, size, style.safe_zones, eyes=eyes)
    wanted = _LINES[style.position] * size[1]
    return clear_line((), wanted, half, size, style.safe_zones)


def caption_moves(
    plan: FramePlan, style: CaptionStyle | None, centre: int, size: tuple[int, int]
) -> list[tuple[float, int]]:
    """The seconds at which captions move to another line, and that line.

    They move where the picture changes, and only if they would cover a mouth or eyes at `centre`.
    """
    if style is None or style.position is not Position.AUTO:
        return []
    moves: list[tuple[float, int]] = []
    current, half = centre, max(half_height(style), CAPTIONS_HALF)
    for part in plan.sections:
        lips, eyes = (
            [y for time, y in places if part.start <= time < part.end]
            for places in (plan.lips, plan.eyes)
        )
        line = clear_line(lips, centre, half, size, style.safe_zones, eyes=eyes)
        if line != current:
            moves.append((part.start, line))
        current = line
    return moves


def _heights(places: Sequence[tuple[float, int]]) -> list[int]:
    return [y for _, y in places]


def first_lines(centre: int, moves: Sequence[tuple[float, int]]) -> list[int]:
    """The lines of the captions that are shown together with the hook."""
    begin = [line for time, line in moves if time <= 0][-1:] or [centre]
    return begin + [line for time, line in moves if 0 < time < SECONDS]


def caption_boxes(
    style: CaptionStyle | None, centres: Iterable[int], size: tuple[int, int]
) -> list[Box]:
    """The parts of the picture in which a style's captions are; none without captions."""
    if style is None:
        return []
    half = half_height(style)
    return [Box(0, centre - half, size[0], centre + half) for centre in sorted(set(centres))]
