"""From a clip's segments to what will be cut, from which bytes, in which form."""

from collections.abc import Sequence
from dataclasses import dataclass

from clipflow.clips.sources import SourceChoice
from clipflow.domain.clips import ExtractInput, Segment, in_play_order
from clipflow.domain.keys import ClipKeys
from clipflow.media.form import common_form
from clipflow.media.probe import probe
from clipflow.media.window import Span
from clipflow.segments.checkpoint import fingerprint
from clipflow.segments.segment import SegmentPlan, span_within
from clipflow.segments.source import find_source, open_source
from clipflow.storage.objects import ObjectHead, ObjectStore


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
    """One segment of a clip to make, and who asked for it."""

    request: ExtractInput
    plan: SegmentPlan

    @property
    def label(self) -> str:
        """For people: `0 · 00:15:30–00:17:45`."""
        return f"{self.request.index} · {self.plan.span}"


def source_clip(
    keys: ClipKeys,
    segments: Sequence[Segment],
    choice: SourceChoice,
    objects: ObjectStore,
) -> SourcedClip:
    """Find each segment's source. Raises SourceNotFoundError where one has none."""
    ordered = in_play_order(list(segments))
    heads: dict[tuple[str, ...], ObjectHead] = {}
    for segment in ordered:
        candidates = choice.candidates(segment)
        if tuple(candidates) not in heads:
            heads[tuple(candidates)] = find_source(candidates, objects)
    return SourcedClip(keys, tuple((s, heads[tuple(choice.candidates(s))]) for s in ordered))


def plan_cuts(clip: SourcedClip, objects: ObjectStore) -> list[Cut]:
    """Probe each source once, and settle spans and form.

    Raises InvalidInputError for a segment that is not within its source, and what `probe` raises.
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
            SegmentPlan(
                clip.keys.segment(index),
                head,
                probes[head.key],
                span_within(Span(segment.start_time, segment.end_time), probes[head.key]),
                form,
            ),
        )
        for index, (segment, head) in enumerate(clip.segments)
    ]
