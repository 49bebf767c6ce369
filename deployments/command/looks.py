"""Files of a user that say how shorts look: read, and uploaded beside a video."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from clipflow.domain.caption_styles import MAX_FONT_BYTES, CaptionStyle, parse_style
from clipflow.domain.errors import InvalidInputError
from clipflow.storage.objects import ObjectStore
from deployments.command.files import content_id, upload_once


@dataclass(frozen=True)
class LocalStyle:
    """A `style.json` of this machine, and the font file that it names, if it names one."""

    path: Path
    style: CaptionStyle
    font: Path | None

    def upload(self, folder: str, objects: ObjectStore) -> str:
        """Uploads both below `folder`; the style's key, which depends on their content."""
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
    """A style of this machine. Raises InvalidInputError if it is not valid, or its font is not
    there or too large."""
    style = parse_style(path.read_bytes(), str(path))
    if style.is_packaged_font:
        return LocalStyle(path, style, None)
    font = path.parent / style.font
    if not font.is_file():
        raise InvalidInputError(f"{path}: font: there is no file {font}.", "Put it there.")
    if font.stat().st_size > MAX_FONT_BYTES:
        raise InvalidInputError(f"{path}: font: {font} is larger than {MAX_FONT_BYTES >> 20} MiB.")
    return LocalStyle(path, style, font)
