"""Clips: the event that requests them, their records, and the inputs and outputs of the steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from clipflow.domain.audio_tracks import AudioTrack
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import Identifier, Model, ObjectKey
from clipflow.domain.timecode import Timecode

# A number that a record can keep: DynamoDB takes neither the largest floats nor the smallest.
Order = Annotated[
    float,
    Field(ge=-1e9, le=1e9, allow_inf_nan=False),
    AfterValidator(lambda order: round(order, 9)),
]


class Segment(Model):
    """One span of a source, `start_time ≤ t < end_time`, in seconds from its first frame."""

    start_time: Timecode
    end_time: Timecode
    speaker: str | None = None
    text: str | None = None
    order: Order | None = None
    notes: str | None = None
    source_key: ObjectKey | None = None
    audio_track: AudioTrack | None = None

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> Self:
        if self.start_time >= self.end_time:
            raise ValueError("startTime must be before endTime")
        return self


Segments = Annotated[list[Segment], Field(min_length=1)]


def in_play_order(segments: list[Segment]) -> list[Segment]:
    """Segments by their `order`; one without an order counts by its place in the list."""
    places = enumerate(segments)
    ranked = [(place if s.order is None else s.order, place, s) for place, s in places]
    return [segment for _, _, segment in sorted(ranked, key=lambda entry: entry[:2])]


class ClipRequest(Model):
    """One clip of an event; without segments it means those of its record."""

    clip_id: Identifier
    segments: Segments | None = None
    source_key: ObjectKey | None = None
    audio_track: AudioTrack | None = None

    @property
    def initial_attributes(self) -> dict[str, Any] | None:
        """The attributes for a record that does not exist yet; None without segments."""
        if not self.segments:
            return None
        return self.model_dump(mode="json", exclude_none=True, exclude={"clip_id"})


class BeginClipGeneration(Model):
    """The detail of a `Begin Clip Generation` event; without clips it means all that are due."""

    tenant_id: Identifier
    episode_id: Identifier
    clips: list[ClipRequest] | None = None

    @model_validator(mode="after")
    def _each_clip_once(self) -> Self:
        seen: dict[str, ClipRequest] = {}
        for clip in self.clips or []:
            if seen.setdefault(clip.clip_id, clip) != clip:
                raise ValueError(f"clip {clip.clip_id} is requested twice, differently")
        return self


class ClipStatus(StrEnum):
    """The values of a record's `status`."""

    DETECTED = "detected"
    PENDING = "pending"
    IN_PROGRESS = "Generation in Progress"
    COMPLETE = "Generation Complete"
    FAILED = "Generation Failed"


# The clips that an event without a list of clips means.
DUE = (ClipStatus.DETECTED, ClipStatus.PENDING, ClipStatus.FAILED)


class ClipRecord(Model):
    """What a run reads of a clip's record; what it writes is in `clipflow.domain.transitions`.

    Its content is not trusted before `complete_request` checks it.
    """

    status: Any = None
    segments: Any = None
    source_key: Any = None
    audio_track: Any = None

    def complete_request(self, request: ClipRequest) -> ClipRequest:
        """`request`, completed from this record. Raises InvalidInputError naming what is wrong in
        the record."""
        completed = {
            "clipId": request.clip_id,
            "segments": request.segments or self.segments,
            "sourceKey": request.source_key or self.source_key,
            "audioTrack": self.audio_track if request.audio_track is None else request.audio_track,
        }
        whole = ClipRequest.read(completed, f"the record of clip {request.clip_id}")
        if not whole.segments:
            raise InvalidInputError(
                f"Clip {request.clip_id} has no segments.",
                "Write them into its record, or into the event.",
            )
        return whole


class TrackRecord(Model):
    """One camera or microphone of an episode."""

    track_name: str | None = None
    s3_key: ObjectKey
    speakers: tuple[str, ...] = ()


@dataclass(frozen=True)
class InvalidTrack:
    """A track's record that is not valid, or not complete yet, and why.

    `speakers` are None if it does not say who is on it.
    """

    error: InvalidInputError
    speakers: tuple[str, ...] | None

    @classmethod
    def of(cls, item: Mapping[str, Any], error: InvalidInputError) -> Self:
        """The track of a record that `error` refuses."""
        speakers = item.get("speakers")
        if not isinstance(speakers, list) or not all(isinstance(name, str) for name in speakers):
            return cls(error, None if "speakers" in item else ())
        return cls(error, tuple(speakers))


def read_track(item: Mapping[str, Any], name: str) -> TrackRecord | InvalidTrack:
    """The record of the track `name`. One that is not valid concerns only what is cut from it."""
    try:
        return TrackRecord.read(item, f"the record of track {name}")
    except InvalidInputError as error:
        return InvalidTrack.of(item, error)


class SegmentMetadata(Model):
    """Seconds, bytes and `WIDTHxHEIGHT` of one finished segment."""

    duration: float
    file_size: int
    resolution: str


class ExtractInput(Model):
    """What the segment extractor takes."""

    tenant_id: Identifier
    episode_id: Identifier
    clip_id: Identifier
    segment: Segment
    index: int = Field(ge=0)


class ExtractOutput(Model):
    """What the segment extractor returns."""

    episode_id: Identifier
    clip_id: Identifier
    segment_file: ObjectKey
    status: Literal["completed"] = "completed"
    metadata: SegmentMetadata


class StitchSegment(Model):
    """One finished segment, in play order."""

    segment_file: ObjectKey
    metadata: SegmentMetadata


class StitchInput(Model):
    """What the clip stitcher takes."""

    tenant_id: Identifier
    episode_id: Identifier
    clip_id: Identifier
    segments: Annotated[list[StitchSegment], Field(min_length=1)]


class ClipResult(Model):
    """A finished clip: what its record says when it is complete."""

    s3_key: ObjectKey
    file_size: int
    duration: str
    duration_seconds: float
    resolution: str
    segment_count: int
