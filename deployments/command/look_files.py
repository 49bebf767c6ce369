"""Reads a user's style and brand files, and uploads them beside a video."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipflow.domain.brands import MAX_BRAND_BYTES, Brand
from clipflow.domain.caption_styles import MAX_FONT_BYTES, CaptionStyle, parse_style
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import parse_json
from clipflow.storage.objects import ObjectStore
from deployments.command.files import content_id, upload_once


@dataclass(frozen=True)
class LocalStyle:
    """A `style.json` of this machine, and the font file that it names, if it names one."""

    path: Path
    style: CaptionStyle
    font: Path | None

    def upload(self, folder: str, objects: ObjectStore) -> str:
        """Uploads both below `folder`; returns the style's key, which depends on their content."""
        style = self.style
        if self.font:
            name = f"{content_id(self.font)}{self.font.suffix}"
            upload_once(objects, self.font, f"{folder}/styles/{name}")
            style = style.model_copy(update={"font": name})
        text = style.model_dump_json(indent=1)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        key = f"{folder}/styles/{digest}.json"
        objects.put_text(text, key, {}, "application/json")
        return key


def read_style(path: Path) -> LocalStyle:
    """Reads a style file. Raises InvalidInputError if it is not valid, or its font does not exist
    or is too large."""
    style = parse_style(path.read_bytes(), str(path))
    if style.is_packaged_font:
        return LocalStyle(path, style, None)
    font = path.parent / style.font
    if not font.is_file():
        raise InvalidInputError(f"{path}: font: there is no file {font}.", "Put it there.")
    if font.stat().st_size > MAX_FONT_BYTES:
        raise InvalidInputError(f"{path}: font: {font} is larger than {MAX_FONT_BYTES >> 20} MiB.")
    return LocalStyle(path, style, font)


@dataclass(frozen=True)
class LocalBrand:
    """A `brand.json` of this machine, and the files that it names, by their fields."""

    brand: Brand
    files: Mapping[str, Path]

    def upload(self, folder: str, objects: ObjectStore) -> dict[str, Any]:
        """Uploads its files below `folder`; returns the brand with their keys, as in a config."""
        keys = {}
        for field, path in self.files.items():
            keys[field] = f"{folder}/brand/{content_id(path)}{path.suffix}"
            upload_once(objects, path, keys[field])
        return self.brand.with_files(keys).model_dump(mode="json", exclude_none=True)


def read_brand(path: Path) -> LocalBrand:
    """Reads a brand file. Raises InvalidInputError if it is not valid, or a file that it names does
    not exist."""
    text = path.read_bytes()
    if len(text) > MAX_BRAND_BYTES:
        raise InvalidInputError(f"{path} is larger than {MAX_BRAND_BYTES} bytes.")
    brand = Brand.read(parse_json(text, str(path), "Correct it."), str(path))
    files = {field: path.parent / name for field, name in brand.files.items()}
    for field, file in files.items():
        if not file.is_file():
            raise InvalidInputError(f"{path}: {field}: there is no file {file}.", "Put it there.")
    return LocalBrand(brand, files)
