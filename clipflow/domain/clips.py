"""Clips: the event that requests them, their records, and the inputs and outputs of the steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import AudioTrack, Identifier, Model, ObjectKey
from clipflow.domain.timecode import Timecode

# A number that a record can store: DynamoDB supports neither the largest floats nor the smallest.
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
    """Sorts segments by their `order`; a segment without one is placed by its index in the list."""
    places = enumerate(segments)
    ranked = [(place if s.order is None else s.order, place, s) for place, s in places]
    return [segment for _, _, segment in sorted(ranked, key=lambda entry: entry[:2])]


class ClipRequest(Model):
    """One clip of an event. Without segments, those of the clip's record are used."""

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
    """The detail of a `Begin Clip Generation` event. Without clips, all due clips are made."""

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


# The statuses of due clips, which an event without a list of clips requests.
DUE = (ClipStatus.DETECTED, ClipStatus.PENDING, ClipStatus.FAILED)


class ClipRecord(Model):
    """The attributes that a run reads from a clip's record; `clipflow.domain.transitions` has those
    that it writes.

    The content is untrusted until `complete_request` has checked it.
    """

    status: Any = None
    updated_at: Any = None
    segments: Any = None
    source_key: Any = None
    audio_track: Any = None

    def complete_request(self, request: ClipRequest) -> ClipRequest:
        """`request`, completed from this record.

        Raises InvalidInputError naming the record's invalid fields.
        """
        completed = {
            "clipId": request.clip_id,
            "segments": request.segments or self.segments,
            "sourceKey": request.source_key or self.source_key,
            "audioTrack": self.audio_track if request.audio_track is None else request.audio_track,
        }
        result = ClipRequest.read(completed, f"the record of clip {request.clip_id}")
        if not result.segments:
            raise InvalidInputError(
                f"Clip {request.clip_id} has no segments.",
                "Write them into its record, or into the event.",
            )
        return result


class TrackRecord(Model):
    """One camera or microphone of an episode."""

    track_name: str | None = None
    s3_key: ObjectKey
    speakers: tuple[str, ...] = ()


@dataclass(frozen=True)
class InvalidTrack:
    """A track's record that is invalid or not complete yet, with the reason.

    `speakers` is None if the record does not name the track's speakers.
    """

    error: InvalidInputError
    speakers: tuple[str, ...] | None

    @classmethod
    def of(cls, item: Mapping[str, Any], error: InvalidInputError) -> Self:
        """The track of a record that is invalid because of `error`."""
        speakers = item.get("speakers")
        # A list or a string set of DynamoDB.
        if not isinstance(speakers, list | set) or not all(isinstance(n, str) for n in speakers):
            return cls(error, None if "speakers" in item else ())
        return cls(error, tuple(speakers))


def read_track(item: Mapping[str, Any], name: str) -> TrackRecord | InvalidTrack:
    """The record of the track `name`. An invalid one affects only segments cut from that track."""
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
    """The input of the segment extractor."""

    tenant_id: Identifier
    episode_id: Identifier
    clip_id: Identifier
    segment: Segment
    index: int = Field(ge=0)


class ExtractOutput(Model):
    """The output of the segment extractor."""

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
    """The input of the clip stitcher."""

    tenant_id: Identifier
    episode_id: Identifier
    clip_id: Identifier
    segments: Annotated[list[StitchSegment], Field(min_length=1)]


class ClipResult(Model):
    """A finished clip: the attributes of its record when it is complete."""

    s3_key: ObjectKey
    file_size: int
    duration: str
    duration_seconds: float
    resolution: str
    segment_count: int
