"""The steps of the clip job: choosing sources, planning cuts, extracting and stitching segments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from clipflow.domain.clips import (
    ClipResult,
    ExtractInput,
    ExtractOutput,
    InvalidTrack,
    Segment,
    SegmentMetadata,
    StitchInput,
    TrackRecord,
    in_play_order,
)
from clipflow.domain.keys import ClipKeys
from clipflow.domain.model import AudioTrack
from clipflow.domain.timecode import format_clock
from clipflow.jobs import fingerprints
from clipflow.jobs.segment import (
    SegmentPlan,
    find_source,
    is_made_from,
    make_segment,
    open_source,
    span_within,
    video_metadata,
)
from clipflow.machine import Machine, work_folder
from clipflow.media.mux import SegmentFile, stitch
from clipflow.media.output_format import common_format
from clipflow.media.probe import probe_source
from clipflow.media.window import Span
from clipflow.storage.objects import ObjectHead, ObjectStore
from clipflow.telemetry.progress import report
from clipflow.telemetry.tracing import span

_MAIN = "main"


@dataclass(frozen=True)
class SourceChoice:
    """The possible sources of a clip's segments.

    In order of preference: the segment's own, the clip's, the speaker's track, the main track.
    """

    clip_source: str | None
    tracks: Mapping[str, TrackRecord | InvalidTrack]
    main_candidates: list[str]
    audio_track: AudioTrack | None = None

    def with_audio_track(self, segment: Segment) -> Segment:
        """The segment with the clip's audio track, unless it has its own."""
        if segment.audio_track is not None or self.audio_track is None:
            return segment
        return segment.model_copy(update={"audio_track": self.audio_track})

    def candidates(self, segment: Segment) -> list[str]:
        """The keys to try for a segment's source, in order; the first that exists is used.

        There is more than one key only for an episode without track records. Raises
        InvalidInputError if it is the key of a track whose record is not valid.
        """
        named = segment.source_key or self.clip_source or self._track_key(segment.speaker)
        return [named] if named else self.main_candidates

    def _track_key(self, speaker: str | None) -> str | None:
        tracks = self.tracks.values()
        spoken_by = (track for track in tracks if speaker in (track.speakers or ()))
        # A track whose record does not name its speakers may be that of the speaker.
        unclear = (track for track in tracks if track.speakers is None) if speaker else iter(())
        track = next(spoken_by, None) or next(unclear, None) or self.tracks.get(_MAIN)
        if isinstance(track, InvalidTrack):
            raise track.error
        return track.s3_key if track else None


@dataclass(frozen=True)
class SourcedClip:
    """A clip's segments in play order, each with the head of its source object."""

    keys: ClipKeys
    segments: tuple[tuple[Segment, ObjectHead], ...]

    @property
    def fingerprint(self) -> str:
        """A digest that is equal for the same spans of the same bytes and pipeline version."""
        return fingerprints.of_clip(self.segments)

    @property
    def etags(self) -> str:
        """The ETags of all sources; a digest if they could exceed S3's limit of 2 KB of
        metadata."""
        joined = ",".join(dict.fromkeys(head.etag for _, head in self.segments))
        return joined if len(joined) <= 1024 else fingerprints.fingerprint(joined)


@dataclass(frozen=True)
class Cut:
    """One segment of a clip to make: the extractor's input, and the plan."""

    request: ExtractInput
    plan: SegmentPlan

    @property
    def label(self) -> str:
        """The name in the UI: `0: 00:15:30-00:17:45`."""
        return f"{self.request.index}: {self.plan.span}"


@dataclass(frozen=True)
class CutGroup:
    """Segments of a clip that one machine makes."""

    cuts: tuple[Cut, ...]

    @property
    def label(self) -> str:
        """The name in the UI: that of a single segment, or `segments 0, 2, 5`."""
        if len(self.cuts) == 1:
            return self.cuts[0].label
        return f"segments {', '.join(str(cut.request.index) for cut in self.cuts)}"

    @property
    def fingerprint(self) -> str:
        """A digest that is equal for the same segments with the same inputs."""
        if len(self.cuts) == 1:
            return self.cuts[0].plan.fingerprint
        return fingerprints.fingerprint([cut.plan.fingerprint for cut in self.cuts])


def source_clip(
    keys: ClipKeys,
    segments: Sequence[Segment],
    choice: SourceChoice,
    objects: ObjectStore,
) -> SourcedClip:
    """Finds each segment's source, and sets the clip's audio track, if it names one.

    Raises SourceNotFoundError if a segment has no source.
    """
    ordered = [choice.with_audio_track(segment) for segment in in_play_order(list(segments))]
    heads: dict[tuple[str, ...], ObjectHead] = {}
    for segment in ordered:
        candidates = choice.candidates(segment)
        if tuple(candidates) not in heads:
            heads[tuple(candidates)] = find_source(candidates, objects)
    return SourcedClip(keys, tuple((s, heads[tuple(choice.candidates(s))]) for s in ordered))


def plan_cuts(clip: SourcedClip, objects: ObjectStore) -> list[Cut]:
    """Probes each source once, and determines each segment's span and the output format.

    Raises InvalidInputError for a segment that is not within its source, and the errors of
    `probe_source`.
    """
    heads = {(head.key, segment.audio_track): head for segment, head in clip.segments}
    probes = {
        (key, track): probe_source(open_source(head, objects), track)
        for (key, track), head in heads.items()
    }
    target = common_format(list(probes.values()))
    return [
        Cut(
            ExtractInput(
                tenant_id=clip.keys.tenant_id,
                episode_id=clip.keys.episode_id,
                clip_id=clip.keys.clip_id,
                segment=segment,
                index=index,
            ),
            SegmentPlan(
                clip.keys.segment(index),
                head,
                (probe := probes[head.key, segment.audio_track]),
                span_within(Span(segment.start_time, segment.end_time), probe),
                target,
            ),
        )
        for index, (segment, head) in enumerate(clip.segments)
    ]


def extract(
    planned: Cut, objects: ObjectStore, machine: Machine, *, force: bool = False
) -> ExtractOutput:
    """Makes the segment `planned` unless it exists. Raises the errors of `make_segment`."""
    size = make_segment(planned.plan, objects, machine, force=force)
    return ExtractOutput(
        episode_id=planned.request.episode_id,
        clip_id=planned.request.clip_id,
        segment_file=planned.plan.key,
        metadata=SegmentMetadata(
            duration=float(planned.plan.span.duration),
            file_size=size,
            resolution=planned.plan.target.resolution,
        ),
    )


def find_existing_clip(clip: SourcedClip, objects: ObjectStore) -> ClipResult | None:
    """The existing clip, from its object's metadata; None unless its fingerprint matches."""
    head = objects.head(clip.keys.clip)
    if head is None or not is_made_from(head, clip.fingerprint):
        return None
    duration = Fraction(head.metadata["duration-seconds"])
    return _result(clip, duration, head.metadata["resolution"], head.size)


def assemble(
    request: StitchInput, clip: SourcedClip, objects: ObjectStore, machine: Machine
) -> ClipResult:
    """Stitches the segments of `request` into the clip's object.

    Raises the errors of `ObjectStore` and of `stitch`.
    """
    needed = 2 * sum(segment.metadata.file_size for segment in request.segments)
    with span("stitch") as work, work_folder(machine.scratch, needed) as scratch:
        pieces = []
        for index, segment in enumerate(request.segments):
            path = scratch / f"{index}.mp4"
            objects.download(segment.segment_file, path)
            pieces.append(SegmentFile(path, Fraction(str(segment.metadata.duration))))
            report(len(pieces) / (len(request.segments) + 1))
        path = scratch / "clip.mp4"
        made = stitch(pieces, path)
        metadata = video_metadata(
            made.duration, made.resolution, len(pieces), clip.etags, clip.fingerprint
        )
        objects.upload(path, clip.keys.clip, metadata)
        work.bytes_read = sum(piece.path.stat().st_size for piece in pieces)
        work.bytes_written = path.stat().st_size
        return _result(clip, made.duration, made.resolution, work.bytes_written)


def _result(clip: SourcedClip, duration: Fraction, resolution: str, size: int) -> ClipResult:
    return ClipResult(
        s3_key=clip.keys.clip,
        file_size=size,
        duration=format_clock(duration),
        duration_seconds=float(duration),
        resolution=resolution,
        segment_count=len(clip.segments),
    )
