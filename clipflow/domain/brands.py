"""`brand.json`: the logo, intro, outro and music that all shorts of a brand have in common."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from clipflow.domain.caption_styles import beside
from clipflow.domain.model import ObjectKey, StrictModel, check_object_key

# The maximum size of a `brand.json` and of a logo in bytes; the longest intro or outro in seconds.
MAX_BRAND_BYTES, MAX_LOGO_BYTES, LONGEST_PART = 64 << 10, 16 << 20, 30


def _brand_key(value: str) -> str:
    if not value.endswith(".json"):
        raise ValueError("it is a brand, or the key of a brand.json")
    return check_object_key(value)


# The key of a `brand.json`.
BrandKey = Annotated[
    str,
    AfterValidator(_brand_key),
    WithJsonSchema({"type": "string", "pattern": r"\.json$"}),
]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Corner(StrEnum):
    """The corner of the picture in which a logo is."""

    TOP_LEFT = "top_left"
    TOP_RIGHT = "top_right"
    BOTTOM_LEFT = "bottom_left"
    BOTTOM_RIGHT = "bottom_right"


class Logo(StrictModel):
    """A PNG, JPEG or WebP image in a corner of the picture.

    `width` is a share of the picture's width, `margin` the pixels between the logo and the part of
    the picture that platforms cover.
    """

    file: ObjectKey
    corner: Corner = Corner.TOP_RIGHT
    width: Annotated[_Number, Field(ge=0.03, le=0.4)] = 0.16
    margin: Annotated[int, Field(strict=True, ge=0, le=300)] = 16
    opacity: Annotated[_Number, Field(ge=0.1, le=1)] = 1.0


class Music(StrictModel):
    """Music below the speech, repeated or cut to the length of the short.

    `level` is its loudness in pauses, in LUFS; `ducking` by how many decibels it is lower while
    somebody speaks.
    """

    file: ObjectKey
    level: Annotated[_Number, Field(ge=-40, le=-16)] = -24.0
    ducking: Annotated[_Number, Field(ge=0, le=20)] = 10.0


class Brand(StrictModel):
    """The whole of `brand.json`. Files are keys, or names of files beside it."""

    version: Literal[1] = 1
    logo: Logo | None = None
    intro: ObjectKey | None = None
    outro: ObjectKey | None = None
    music: Music | None = None

    @property
    def files(self) -> dict[str, str]:
        """The files that it names, by their fields."""
        named = {
            "logo.file": self.logo and self.logo.file,
            "intro": self.intro,
            "outro": self.outro,
            "music.file": self.music and self.music.file,
        }
        return {field: name for field, name in named.items() if name}

    def with_files(self, files: Mapping[str, str]) -> "Brand":
        """The same brand with other names for its files, by their fields."""
        return self.model_copy(
            update={
                "logo": self.logo and self.logo.model_copy(update={"file": files["logo.file"]}),
                "intro": self.intro and files["intro"],
                "outro": self.outro and files["outro"],
                "music": self.music and self.music.model_copy(update={"file": files["music.file"]}),
            }
        )

    def with_keys(self, document: str | None) -> "Brand":
        """The brand with the keys of its files, as the object at the key `document` names them.

        It is not called `keys`: an object with a method of that name counts as a mapping in
        `dict()`, by which Prefect looks into the parameters of tasks.
        """
        return self.with_files({f: beside(document, name) for f, name in self.files.items()})
