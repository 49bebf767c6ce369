"""From a clip's segments to what will be cut, from which bytes, in which form."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import floor

from clipflow import PIPELINE_VERSION
from clipflow.clips.sources import SourceChoice, find_source, open_source
from clipflow.domain.clips import ExtractInput, Segment, in_play_order
from clipflow.domain.errors import InvalidInput
from clipflow.domain.keys import ClipKeys
from clipflow.domain.timecode import format_timecode
from clipflow.media.form import Form, common_form
from clipflow.media.probe import Probe, probe
from clipflow.media.window import Span
from clipflow.storage.objects import ObjectHead, ObjectStore

logger = logging.getLogger(__name__)

# An end this far past the source's is taken for its end: detectors round up.
_CLAMP_SECONDS = 1


@dataclass(frozen=True)
class SourcedClip:
    """A clip's segments in play order, each with the object it is cut from."""

    keys: ClipKeys
    segments: tuple[tuple[Segment, ObjectHead], ...]

    @property
    def fingerprint(self) -> str:
        """Equal for equal clips: the same spans of the same bytes, made by the same pipeline."""
        return fingerprint(
            [[s.model_dump(include={"start_time", "end_time"}), h.etag] for s, h in self.segments]
        )

    @property
    def etags(self) -> str:
        """Of every source, for the clip's metadata, which holds no more than 2 KB."""
        joined = ",".join(dict.fromkeys(head.etag for _, head in self.segments))
        return joined if len(joined) <= 1024 else fingerprint(joined)


@dataclass(frozen=True)
class Cut:
    """One segment to make."""

    request: ExtractInput
    head: ObjectHead
    source: Probe
    span: Span
    form: Form

    @property
    def fingerprint(self) -> str:
        """Equal for equal segments."""
        span = [format_timecode(self.span.start), format_timecode(self.span.end)]
        return fingerprint([span, self.head.etag, asdict(self.form)])

    @property
    def label(self) -> str:
        """For people: `0 · 00:15:30–00:17:45`."""
        return f"{self.request.index} · {self.span}"


def source_clip(
    keys: ClipKeys,
    segments: Sequence[Segment],
    choice: SourceChoice,
    objects: ObjectStore,
) -> SourcedClip:
    """Find each segment's source. Raises SourceNotFound where one has none."""
    ordered = in_play_order(list(segments))
    heads: dict[tuple[str, ...], ObjectHead] = {}
    for segment in ordered:
        candidates = choice.candidates(segment)
        if tuple(candidates) not in heads:
            heads[tuple(candidates)] = find_source(candidates, objects)
    return SourcedClip(keys, tuple((s, heads[tuple(choice.candidates(s))]) for s in ordered))


def plan_cuts(clip: SourcedClip, objects: ObjectStore) -> list[Cut]:
    """Probe each source once, and settle spans and form.

    Raises InvalidInput for a segment that is not within its source, and what `probe` raises.
    """
    heads = {head.key: head for _, head in clip.segments}
    probes = {key: probe(open_source(head, objects)) for key, head in heads.items()}
    form = common_form(list(probes.values()))
    return [
        Cut(
            ExtractInput(
                tenant_id=clip.keys.tenant_id,
                episode_id=clip.keys.episode_id,
                clip_id=clip.keys.clip_id,
                segment=segment,
                index=index,
            ),
            head,
            probes[head.key],
            span_within(segment, probes[head.key]),
            form,
        )
        for index, (segment, head) in enumerate(clip.segments)
    ]


def span_within(segment: Segment, source: Probe) -> Span:
    """The segment's span; an end up to a second past the source's is clamped to it."""
    start, end = segment.start_time, segment.end_time
    if source.duration is None or end <= source.duration:
        return Span(start, end)
    if end > source.duration + _CLAMP_SECONDS or start >= source.duration:
        raise InvalidInput(
            f"Segment {Span(start, end)} ends past {source.name}, "
            f"which lasts {format_timecode(source.duration)}.",
            "Correct the segment's times or its source.",
        )
    # To a microsecond, so that the length survives being written as a number.
    clamped = Fraction(floor(source.duration * 10**6), 10**6)
    logger.warning("%s: end clamped to %s", Span(start, end), format_timecode(clamped))
    return Span(start, clamped)


def fingerprint(made_from: object) -> str:
    """A short digest of what something is made from, and of the pipeline that makes it."""
    text = json.dumps([PIPELINE_VERSION, made_from], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def is_made_from(metadata: Mapping[str, str], made_from: str) -> bool:
    """Whether a finished object's metadata says that it was made from just this."""
    return metadata.get(MADE_FROM) == made_from


MADE_FROM = "made-from"


def object_metadata(
    duration: Fraction, resolution: str, count: int, etag: str, made_from: str
) -> dict[str, str]:
    """What a finished object carries: what it is, and what it was made from."""
    return {
        "duration-seconds": f"{float(duration):.6f}".rstrip("0").rstrip("."),
        "resolution": resolution,
        "segment-count": str(count),
        "source-etag": etag,
        "pipeline-version": PIPELINE_VERSION,
        MADE_FROM: made_from,
    }
