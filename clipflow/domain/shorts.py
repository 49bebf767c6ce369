"""Shorts: the config of a video, its moments, and the shorts made of them."""

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from clipflow.domain.brands import Brand, BrandKey
from clipflow.domain.caption_styles import DEFAULT_STYLE, StyleName
from clipflow.domain.errors import Failure, FailureCode, bounded_message
from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.model import AudioTrack, Identifier, Model, ObjectKey, whole_number
from clipflow.domain.post_text import Description, bounded, more_than_blanks, one_line
from clipflow.domain.removals import Tightening
from clipflow.domain.timecode import SubtitleTime, Timecode, format_clock

# A warning is given if the speaker's face is shown in a smaller share of the frames with speech.
_IN_FRAME = 0.95
# A warning is given if the speakers are known with less confidence, from 0 to 1. With 0.25 to 0.5,
# measured on two people side by side, the right one is shown; below, all of them mostly are.
_SURE = 0.2


class FailedState(StrEnum):
    """The final states of a failed `generate-shorts` run."""

    READ_CONFIG = "ReadConfigFailed"
    PARENT_TASK = "ParentTaskFailed"
    CHILD_TASKS = "ChildTasksFailed"


_TAG = r"^[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8}){0,3}$"


def _language_tag(text: str) -> str:
    if not re.fullmatch(_TAG, text):
        raise ValueError("a language is a tag such as en or pt-BR")
    return text


# A BCP 47 tag, such as `en` or `pt-BR`.
LanguageTag = Annotated[
    str, AfterValidator(_language_tag), WithJsonSchema({"type": "string", "pattern": _TAG})
]


# The audio of each speaker, by name: the number of one of the video's audio tracks, from 0, or the
# key of a file that begins when the video does.
SpeakerTracks = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=100)],
        Annotated[
            Annotated[int, Field(strict=True, ge=0, le=99)] | ObjectKey,
            BeforeValidator(whole_number),
        ],
    ],
    Field(min_length=2, max_length=16),
]


# Seconds: the bounds of a short's length, and the smallest difference between the shortest and the
# longest short. Within it speech must be divisible, and a sentence lasts about five seconds.
SHORTEST, LONGEST, LEAST_LEEWAY = 1, 900, 5
_Duration = Annotated[float, Field(ge=SHORTEST, le=LONGEST, allow_inf_nan=False)]
Topic = Annotated[
    str, Field(max_length=100), AfterValidator(one_line), AfterValidator(more_than_blanks)
]


def _ascending(bounds: tuple[Any, Any]) -> tuple[Any, Any]:
    if bounds[0] >= bounds[1]:
        raise ValueError("the first must be less than the second")
    return bounds


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
    layout: Layout = Layout.AUTO
    aspect: Aspect = Aspect.TALL
    caption_style: Annotated[StyleName, Field(alias="caption_style")] = DEFAULT_STYLE
    hook: Annotated[bool, Field(strict=True)] = False
    brand: Brand | BrandKey | None = None
    language: LanguageTag | None = None
    speaker_tracks: Annotated[SpeakerTracks | None, Field(alias="speaker_tracks")] = None
    audio_track: Annotated[AudioTrack | None, Field(alias="audio_track")] = None
    tighten: Annotated[bool, Field(strict=True)] = False
    # Which moments to choose: free text for a language model, topics, the part of the video, and
    # the shortest and longest duration.
    instructions: Annotated[Description | None, Field(max_length=2000)] = None
    topics: Annotated[tuple[Topic, ...], Field(max_length=20)] = ()
    video_range: Annotated[
        Annotated[tuple[Timecode, Timecode], AfterValidator(_ascending)] | None,
        Field(alias="range"),
    ] = None
    durations: Annotated[tuple[_Duration, _Duration], AfterValidator(_ascending)] | None = None

    @model_validator(mode="after")
    def _has_consistent_durations(self) -> Self:
        if self.durations is None:
            return self
        shortest, longest = self.durations
        if longest - shortest < LEAST_LEEWAY:
            raise ValueError(f"durations: they are at least {LEAST_LEEWAY} seconds apart")
        return self

    @property
    def target(self) -> float:
        """The length to aim at, in seconds, within `durations`: their middle if only these are
        given."""
        if self.durations is None:
            return self.target_seconds
        if "target_seconds" not in self.model_fields_set:
            return sum(self.durations) / 2
        return min(max(self.target_seconds, self.durations[0]), self.durations[1])

    @property
    def rendered_layout(self) -> Layout:
        """The layout to render: with a background video, `auto` is `stack`."""
        is_stack = self.layout is Layout.AUTO and self.background_video
        return Layout.STACK if is_stack else self.layout


class Decision(StrEnum):
    """What a person has decided about a short. A refused one is not rendered."""

    APPROVED = "approved"
    REFUSED = "refused"


class ShortStatus(StrEnum):
    """The values of `status` of a record's shorts."""

    COMPLETE = "Generation Complete"
    FAILED = "Generation Failed"
    REFUSED = "Refused"


# The start and end that the moment had when it was first chosen, in milliseconds, followed by a
# number if that id is taken.
MomentId = Annotated[str, Field(pattern=r"^m[0-9]{1,12}-[0-9]{1,12}(-[0-9]{1,4})?$")]


class Moment(Model):
    """One moment for a short: `start ≤ t < end` of the video, a score from 0 to 100, and the
    reason.

    `id` stays the same when moments are chosen again; `index` is the number of the moment's files,
    from 1. Both are None until the moment is stored. `hook` and `decision` are a person's;
    `description` and `hashtags` are a person's or a language model's, else None.
    """

    id: MomentId | None = None
    index: Annotated[int, Field(ge=1)] | None = None
    start: SubtitleTime
    end: SubtitleTime
    score: Annotated[float, Field(ge=0, le=100)]
    why: str
    title: str
    hook: str | None = None
    description: str | None = None
    hashtags: tuple[str, ...] | None = None
    decision: Decision | None = None

    @property
    def is_refused(self) -> bool:
        return self.decision is Decision.REFUSED

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start must be before end")
        return self

    @property
    def hook_text(self) -> str:
        """The text that is shown over the first seconds: the hook, or without one the title."""
        return self.hook or self.title


class LayoutSpan(Model):
    """The layout from `start` to before `end`, in seconds of the short."""

    start: float
    end: float
    layout: Layout


class Framing(Model):
    """The decisions about a short's picture, and their quality.

    `speaker_in_frame` is the share of the frames with speech that show the whole face of the
    speaker, or of all possible speakers if that is uncertain; None if no speaker is seen.
    `confidence` is that of the speakers, from 0 to 1. `cuts` is the number of changes of the crop.
    """

    speaker_in_frame: float | None = None
    confidence: float | None = None
    cuts: int = 0
    layouts: tuple[LayoutSpan, ...] = ()

    @property
    def warning(self) -> str | None:
        """A warning for the user; None if there is nothing to warn about."""
        if self.speaker_in_frame is not None and self.speaker_in_frame < _IN_FRAME:
            return (
                f"The speaker's face is whole in {self.speaker_in_frame:.0%} of the frames. "
                "Check the short, or choose another layout."
            )
        if self.confidence is not None and self.confidence < _SURE:
            return (
                "Who of the people in the picture speaks is not certain. Check that the short "
                "shows the right one, or set its framing."
            )
        return None


class Thumbnail(Model):
    """A frame of a short as a JPEG, `time` seconds after the short's first frame."""

    s3_key: ObjectKey
    time: float


class Short(Model):
    """One short, as an entry of the record's `shorts`."""

    id: MomentId | None = None
    index: int
    s3_key: ObjectKey
    start: SubtitleTime
    end: SubtitleTime
    score: float
    why: str
    title: str
    hook: str | None = None
    description: str | None = None
    hashtags: tuple[str, ...] | None = None
    decision: Decision | None = None
    file_size: int | None = None
    etag: str | None = None
    duration: str | None = None
    thumbnail: Thumbnail | None = None
    status: ShortStatus
    error: str | None = None
    code: FailureCode | None = None
    framing: Framing | None = None
    tightening: Tightening | None = None

    @property
    def seconds(self) -> Fraction:
        """The length of the video."""
        saved = self.tightening.seconds if self.tightening else 0
        return self.end - self.start - Fraction(str(saved))

    @classmethod
    def made(
        cls,
        index: int,
        s3_key: str,
        moment: Moment,
        file_size: int,
        framing: Framing | None = None,
        etag: str | None = None,
        tightening: Tightening | None = None,
    ) -> Self:
        made = cls(
            s3_key=s3_key,
            file_size=file_size,
            etag=etag,
            status=ShortStatus.COMPLETE,
            framing=framing,
            tightening=tightening,
            **{**dict(moment), "index": index},
        )
        return made.model_copy(update={"duration": format_clock(made.seconds)})

    @classmethod
    def failed(cls, index: int, s3_key: str, moment: Moment, failure: Failure) -> Self:
        return cls(
            s3_key=s3_key,
            status=ShortStatus.FAILED,
            error=failure.message,
            code=failure.code,
            **{**dict(moment), "index": index},
        )

    @classmethod
    def refused(cls, index: int, s3_key: str, moment: Moment) -> Self:
        values = {**dict(moment), "index": index}
        return cls(s3_key=s3_key, status=ShortStatus.REFUSED, **values)

    @property
    def is_made(self) -> bool:
        return self.status is ShortStatus.COMPLETE


class ShortPost(Model):
    """`segment_{n}.json`: everything that is needed to post a short. Keys are of the bucket; times
    are `HH:MM:SS,mmm` of the video, durations seconds; hashtags have no `#`."""

    version: Literal[1] = 1
    id: MomentId | None = None
    index: int
    s3_key: ObjectKey
    thumbnail: Thumbnail | None = None
    title: str
    hook: str | None = None
    description: str
    hashtags: tuple[str, ...]
    language: str | None = None
    start: SubtitleTime
    end: SubtitleTime
    duration: float
    tightening: Tightening | None = None

    @classmethod
    def of(cls, short: Short, language: str | None) -> Self:
        """The text of a short that is made; `language` is the video's."""
        return cls(
            **short.model_dump(include=_POSTED, by_alias=False),
            description=short.description or "",
            hashtags=short.hashtags or (),
            language=language,
            duration=round(float(short.seconds), 3),
            tightening=short.tightening,
        )


_POSTED = {"id", "index", "s3_key", "thumbnail", "title", "hook", "start", "end"}


class ShortsResult(Model):
    """The results in a video's record; `segment_count` is the number of shorts requested."""

    segment_count: int | None = None
    shorts: list[Short] | None = None
    failed_state: FailedState | None = None


def smaller_results(result: ShortsResult) -> Iterator[ShortsResult]:
    """Yields the result with ever less text, for a record that has no room for all of it.

    `segment_{n}.json` of each short has the whole text.
    """
    for limit, has_layouts in ((_SMALLER_DESCRIPTION, True), (0, False)):
        shorts = [_smaller(short, limit, has_layouts=has_layouts) for short in result.shorts or []]
        yield result.model_copy(update={"shorts": shorts})


# The number of characters of a description that a feed shows.
_SMALLER_DESCRIPTION = 125


def _smaller(short: Short, limit: int, *, has_layouts: bool) -> Short:
    changes: dict[str, Any] = {}
    if short.description:
        changes["description"] = bounded(short.description, limit) if limit else None
    if short.framing and not has_layouts:
        changes["framing"] = short.framing.model_copy(update={"layouts": ()})
    if short.tightening and not has_layouts:
        saved = short.tightening.seconds
        changes["tightening"] = Tightening(seconds=saved)
    return short.model_copy(update=changes)


def result_message(shorts: Sequence[Short], requested: int, note: str = "") -> str:
    """A message for people: how many shorts were made and refused, and a note."""
    made, refused = (
        sum(short.status is status for short in shorts)
        for status in (ShortStatus.COMPLETE, ShortStatus.REFUSED)
    )
    counts = f"{made} of {requested} shorts made{f', {refused} refused' if refused else ''}."
    return f"{counts} {note}".strip()


def children_failure(shorts: Sequence[Short]) -> Failure | None:
    """One failure for all shorts that failed; None if none did."""
    failed = [short for short in shorts if short.code]
    if not failed:
        return None
    errors = " ".join(f"{short.index}: {short.error}" for short in failed)
    return Failure(
        failed[0].code or FailureCode.INTERNAL_ERROR,
        bounded_message(
            f"{len(failed)} of {len(shorts)} shorts failed, the others are made. {errors} "
            "Start the run again: only the failed shorts are made."
        ),
    )
