"""Each moment cut from the video, with its subtitles; and the video's thumbnail."""

from dataclasses import dataclass

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Moment
from clipflow.media import ffmpeg
from clipflow.media.form import common_form, in_sdr
from clipflow.media.probe import probe
from clipflow.media.window import Span
from clipflow.segments.checkpoint import checkpoint, fingerprint, is_made_from
from clipflow.segments.scratch import work_folder
from clipflow.segments.segment import SegmentPlan, make_segment, span_within
from clipflow.segments.source import find_source, open_source
from clipflow.shorts.transcript import read_transcript
from clipflow.speech import srt
from clipflow.storage.objects import ObjectStore

_THUMBNAIL_WIDTH = 1280
_THUMBNAIL_DEADLINE = 120.0
_LARGEST_THUMBNAIL = 64 << 20
_ONE_FRAME = ("-frames:v", "1", "-update", "1")


@dataclass(frozen=True)
class PlannedMoment:
    """One moment's segment to make; `number` counts from 1, best first."""

    number: int
    keys: ShortsKeys
    plan: SegmentPlan

    @property
    def label(self) -> str:
        """For people: `1 · 00:15:30–00:16:10`."""
        return f"{self.number} · {self.plan.span}"


def plan_moments(
    keys: ShortsKeys, moments: list[Moment], objects: ObjectStore
) -> list[PlannedMoment]:
    """What to cut for each moment. Raises InvalidInputError for one that is not within the video."""
    head = find_source([keys.original], objects)
    known = probe(open_source(head, objects))
    form = in_sdr(common_form([known]))
    return [
        PlannedMoment(
            number,
            keys,
            SegmentPlan(
                keys.segment(number),
                head,
                known,
                span_within(Span(moment.start, moment.end), known),
                form,
            ),
        )
        for number, moment in enumerate(moments, start=1)
    ]


def make_moment(planned: PlannedMoment, objects: ObjectStore, *, threads: int, force: bool) -> None:
    """Put the moment's segment and its subtitles. Raises what `make_segment` raises."""
    make_segment(planned.plan, objects, threads=threads, force=force)
    span = planned.plan.span
    spoken = read_transcript(planned.keys, objects).within(float(span.start), float(span.end))
    text, key = srt.written(spoken), planned.keys.segment_subtitles(planned.number)
    made_from = fingerprint(text)
    if not is_made_from(objects.head(key), made_from):
        metadata = checkpoint(planned.plan.head.etag, made_from)
        objects.put_text(text, key, metadata, "application/x-subrip")


def make_thumbnail(keys: ShortsKeys, objects: ObjectStore) -> None:
    """Put the first frame of the best moment as the video's thumbnail, where it has none."""
    if objects.head(keys.thumbnail):
        return
    segment = find_source([keys.segment(1)], objects)
    with work_folder(segment.size + _LARGEST_THUMBNAIL) as scratch:
        video, picture = scratch / "segment.mp4", scratch / "thumbnail.png"
        objects.download(segment.key, video)
        size = f"scale='min({_THUMBNAIL_WIDTH},iw)':-2"
        ffmpeg.run(
            ["-f", "mp4", "-i", str(video), *_ONE_FRAME, "-vf", size, str(picture)],
            f"making {keys.thumbnail}",
            _THUMBNAIL_DEADLINE,
            _LARGEST_THUMBNAIL,
        )
        metadata = checkpoint(segment.etag, fingerprint(segment.etag))
        objects.upload(picture, keys.thumbnail, metadata, "image/png")
