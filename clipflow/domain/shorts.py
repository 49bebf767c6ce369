"""Shorts: what a video's config asks for, and the moments and shorts that come of it."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from clipflow.domain.model import Identifier, Model, ObjectKey
from clipflow.domain.timecode import SubtitleTime


class Layout(StrEnum):
    """What fills the 1080x1920 picture."""

    STACK = "stack"  # the speaker above, the background video below
    BLUR = "blur"  # the whole picture before a blurred copy of itself
    CROP = "crop"  # the speaker, from top to bottom


class CaptionStyle(StrEnum):
    """How what is said is shown."""

    KARAOKE = "karaoke"  # a few words at a time, the spoken one highlighted
    PLAIN = "plain"  # a few words at a time
    NONE = "none"


class ShortsConfig(Model):
    """`shorts_config.json`; unknown fields are kept and ignored."""

    segment_count: Annotated[int, Field(strict=True, ge=1, le=200, alias="segment_count")]
    target_seconds: Annotated[
        float,
        Field(ge=5, le=600, allow_inf_nan=False, alias="target_short_video_duration_in_seconds"),
    ] = 60
    user_id: Annotated[Identifier | None, Field(alias="user_id")] = None
    video_id: Annotated[Identifier | None, Field(alias="video_id")] = None
    background_video: Annotated[ObjectKey | None, Field(alias="background_video")] = None
    layout: Layout = Layout.STACK
    caption_style: Annotated[CaptionStyle, Field(alias="caption_style")] = CaptionStyle.KARAOKE
    language: Annotated[str | None, Field(pattern=r"^[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*$")] = None


class Moment(Model):
    """One moment worth a short: `start ≤ t < end` of the video, a score from 0 to 100, and why."""

    start: SubtitleTime
    end: SubtitleTime
    score: Annotated[float, Field(ge=0, le=100)]
    why: str
    title: str

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start must be before end")
        return self
