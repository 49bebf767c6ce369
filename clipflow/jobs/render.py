"""Rendering one short: its moment reframed, captioned, laid out, put under its key."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from clipflow.captions.ass import captions
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Layout, Moment, Short, ShortsConfig
from clipflow.domain.transcript import Transcript
from clipflow.jobs import fingerprints, picture
from clipflow.jobs.picture import Background, Ingredients, captions_centre, crop_aspect
from clipflow.jobs.scratch import encoded_bytes, work_folder
from clipflow.jobs.segment import (
    find_source,
    is_made_from,
    open_source,
    span_within,
    video_metadata,
)
from clipflow.jobs.shorts import read_transcript
from clipflow.machine import Machine, encoder_slot
from clipflow.media import ffmpeg
from clipflow.media.encode import verify_frame_count
from clipflow.media.ffmpeg import encode_timeout, max_output_bytes
from clipflow.media.loudness import measure_loudness
from clipflow.media.probe import Probe, probe_source
from clipflow.media.window import Span, Window, fetch_window
from clipflow.reframe.crop import CropPath
from clipflow.settings import models
from clipflow.storage.objects import ObjectHead, ObjectStore
from clipflow.telemetry.progress import portion
from clipflow.telemetry.tracing import span

# The share of the work that is done when ffmpeg begins: faces are found by then.
_GATHERED = 0.25


@dataclass(frozen=True)
class Render:
    """One short to make: `number` counts from 1, best first."""

    keys: ShortsKeys
    config: ShortsConfig
    number: int
    moment: Moment

    @property
    def label(self) -> str:
        """The name in the UI: `1: 00:15:30-00:16:10`."""
        return f"{self.number}: {Span(self.moment.start, self.moment.end)}"


def render(asked: Render, objects: ObjectStore, machine: Machine, *, force: bool) -> Short:
    """Make the short, unless it is there already, made from the same.

    Raises what reading, ffmpeg and storing raise.
    """
    key, moment = asked.keys.short(asked.number), asked.moment
    video = find_source([asked.keys.original], objects)
    below = _background(asked.config, objects)
    spoken = read_transcript(asked.keys, objects).within(float(moment.start), float(moment.end))
    made_from = fingerprints.of_short(video, below, moment, spoken.words, asked.config, models())
    head = objects.head(key)
    if head and not force and is_made_from(head, made_from):
        return Short.made(asked.number, key, moment, head.size)
    with span("render") as work, work_folder(machine.scratch, _needed(asked)) as scratch:
        path = scratch / "short.mp4"
        with portion(0, _GATHERED):
            made_of = _gather(asked, video, below, spoken, objects, scratch)
        with encoder_slot(machine), portion(_GATHERED, 1):
            _make(made_of, path, asked, machine)
        duration = made_of.window.span.duration
        metadata = video_metadata(duration, picture.RESOLUTION, 1, video.etag, made_from)
        objects.upload(path, key, metadata)
        work.bytes_written = path.stat().st_size
        return Short.made(asked.number, key, moment, work.bytes_written)


def _needed(asked: Render) -> int:
    # The window, the background's and the short itself, none of which is larger than 1080p is.
    duration = asked.moment.end - asked.moment.start
    return 3 * encoded_bytes(picture.WIDTH * picture.HEIGHT, duration)


def _background(config: ShortsConfig, objects: ObjectStore) -> ObjectHead | None:
    if config.layout != Layout.STACK or not config.background_video:
        return None
    return find_source([config.background_video], objects)


def _gather(
    asked: Render,
    video: ObjectHead,
    below: ObjectHead | None,
    spoken: Transcript,
    objects: ObjectStore,
    scratch: Path,
) -> Ingredients:
    """Everything that ffmpeg needs, in `scratch`."""
    layout, written = asked.config.layout, scratch / "captions.ass"
    source = open_source(video, objects)
    probe = probe_source(source)
    span = span_within(Span(asked.moment.start, asked.moment.end), probe)
    window = fetch_window(source, probe, span, scratch / "window.nut")
    style, centre = asked.config.caption_style, captions_centre(layout)
    written.write_text(captions(spoken.words, window.frames, style, centre), encoding="utf-8")
    return Ingredients(
        window=window,
        probe=probe,
        layout=layout,
        crop=_crop(window, probe, layout),
        background=_fetched(below, span.duration, objects, scratch) if below else None,
        captions=written,
        loudness=measure_loudness(window.path, window.origin, window.origin + span.duration),
    )


def _crop(window: Window, probe: Probe, layout: Layout) -> CropPath | None:
    # Here, because it brings OpenCV, for which no other step has a use.
    from clipflow.reframe.analysis import Film
    from clipflow.reframe.follow import crop_path

    aspect, end = crop_aspect(layout), window.origin + window.span.duration
    size = (probe.width, probe.height)
    film = Film(window.path, size, probe.rotation, window.origin, end, probe.mirrored)
    return crop_path(film, aspect, models().face_model) if aspect else None


def _fetched(
    head: ObjectHead, duration: Fraction, objects: ObjectStore, scratch: Path
) -> Background:
    """As much of the background as the short is long; where it is shorter, all of it."""
    source = open_source(head, objects)
    probe = probe_source(source)
    span = Span(Fraction(0), min(duration, probe.duration or duration))
    return Background(fetch_window(source, probe, span, scratch / "background.nut").path, probe)


def _make(made_of: Ingredients, path: Path, asked: Render, machine: Machine) -> None:
    action = f"rendering short {asked.label} of {asked.keys.label}"
    window, pixels = made_of.window, picture.WIDTH * picture.HEIGHT
    ffmpeg.run(
        picture.render_command(made_of, path, machine.threads),
        action,
        machine,
        encode_timeout(pixels, window.span.duration),
        max_bytes=max_output_bytes(pixels, len(window.frames), window.span.duration),
        duration=window.span.duration,
    )
    verify_frame_count(window, path, action)
