"""Rendering one short: its segment reframed, captioned, laid out, put under its key."""

import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from clipflow.captions.ass import captions
from clipflow.domain.errors import MediaInterrupted
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Layout, Moment, Short, ShortsConfig
from clipflow.domain.transcript import Transcript
from clipflow.media import ffmpeg
from clipflow.media.cut import count_frames, patience
from clipflow.media.loudness import loudness
from clipflow.media.probe import probe
from clipflow.media.source import LocalSource
from clipflow.media.window import Span, fetch
from clipflow.reframe.path import CropPath
from clipflow.segments.checkpoint import fingerprint, is_made_from, video_metadata
from clipflow.segments.source import find_source, open_source
from clipflow.settings import models, settings
from clipflow.shorts import picture
from clipflow.shorts.picture import Background, Ingredients, captions_centre, crop_aspect
from clipflow.shorts.transcript import read_transcript
from clipflow.storage.objects import ObjectHead, ObjectStore


@dataclass(frozen=True)
class Render:
    """One short to make: `number` counts from 1, best first."""

    keys: ShortsKeys
    config: ShortsConfig
    number: int
    moment: Moment

    @property
    def label(self) -> str:
        """For people: `1 · 00:15:30–00:16:10`."""
        return f"{self.number} · {Span(self.moment.start, self.moment.end)}"


def render(asked: Render, objects: ObjectStore, *, threads: int, force: bool) -> Short:
    """Make the short, unless it is there already, made from the same.

    Raises what reading, ffmpeg and storing raise.
    """
    key, moment = asked.keys.short(asked.number), asked.moment
    segment = find_source([asked.keys.segment(asked.number)], objects)
    below = _background(asked.config, objects)
    spoken = read_transcript(asked.keys, objects).within(float(moment.start), float(moment.end))
    made_from = fingerprint(
        [
            segment.etag,
            below and below.etag,
            asked.config.layout,
            asked.config.caption_style,
            [word.model_dump() for word in spoken.words],
        ]
    )
    head = objects.head(key)
    if head and not force and is_made_from(head, made_from):
        return Short.made(asked.number, key, moment, head.size)
    with tempfile.TemporaryDirectory(prefix="clipflow-", dir=settings().scratch) as scratch:
        path = Path(scratch, "short.mp4")
        made_of = _gather(asked, segment, below, spoken, objects, Path(scratch))
        _make(made_of, path, asked, threads)
        duration = moment.end - moment.start
        metadata = video_metadata(duration, picture.RESOLUTION, 1, segment.etag, made_from)
        objects.upload(path, key, metadata)
        return Short.made(asked.number, key, moment, path.stat().st_size)


def _background(config: ShortsConfig, objects: ObjectStore) -> ObjectHead | None:
    if config.layout != Layout.STACK or not config.background_video:
        return None
    return find_source([config.background_video], objects)


def _gather(
    asked: Render,
    segment: ObjectHead,
    below: ObjectHead | None,
    spoken: Transcript,
    objects: ObjectStore,
    scratch: Path,
) -> Ingredients:
    """Everything that ffmpeg needs, in `scratch`."""
    path, layout = scratch / "segment.mp4", asked.config.layout
    objects.download(segment.key, path)
    written = scratch / "captions.ass"
    text = captions(
        spoken.words, _frame_times(path), asked.config.caption_style, captions_centre(layout)
    )
    written.write_text(text, encoding="utf-8")
    duration = asked.moment.end - asked.moment.start
    return Ingredients(
        segment=path,
        known=probe(LocalSource(path)),
        layout=layout,
        crop=_crop(path, layout),
        background=_fetched(below, duration, objects, scratch) if below else None,
        captions=written,
        loudness=loudness(path),
    )


def _crop(segment: Path, layout: Layout) -> CropPath | None:
    # Here, because it brings OpenCV, for which no other step has a use.
    from clipflow.reframe.follow import crop_path

    aspect = crop_aspect(layout)
    return crop_path(segment, aspect, models().face_model) if aspect else None


def _fetched(
    head: ObjectHead, duration: Fraction, objects: ObjectStore, scratch: Path
) -> Background:
    """As much of the background as the short is long; where it is shorter, all of it."""
    source = open_source(head, objects)
    known = probe(source)
    span = Span(Fraction(0), min(duration, known.duration or duration))
    return Background(fetch(source, known, span, scratch / "background.nut").path, known)


def _frame_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0])
        return sorted(packet.pts * packet.time_base for packet in packets if packet.pts is not None)


def _make(made_of: Ingredients, path: Path, asked: Render, threads: int) -> None:
    doing = f"rendering short {asked.label} of {asked.keys.label}"
    duration = asked.moment.end - asked.moment.start
    deadline = patience(picture.WIDTH * picture.HEIGHT, duration)
    ffmpeg.run(picture.render_command(made_of, path, threads), doing, deadline)
    planned, made = count_frames(made_of.segment), count_frames(path)
    if planned != made:
        raise MediaInterrupted(f"{doing}: {made} of {planned} frames came out.")
