"""Rendering of one short, with layout, crop and captions."""

import logging
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from clipflow.captions.ass import captions
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.layouts import Content, Layout
from clipflow.domain.shorts import Framing, Moment, Short, ShortsConfig
from clipflow.domain.transcript import Transcript
from clipflow.jobs import fingerprints, picture
from clipflow.jobs.picture import Background, Ingredients
from clipflow.jobs.scratch import encoded_bytes, work_folder
from clipflow.jobs.segment import (
    find_source,
    is_made_from,
    open_source,
    span_within,
    video_metadata,
)
from clipflow.jobs.shorts import make_moment, plan_moment
from clipflow.jobs.transcription import read_transcript
from clipflow.machine import Machine, encoder_slot
from clipflow.media import ffmpeg
from clipflow.media.encode import verify_frame_count
from clipflow.media.ffmpeg import encode_timeout, max_output_bytes
from clipflow.media.frame_rate import repeats, write_times
from clipflow.media.loudness import measure_loudness
from clipflow.media.probe import Probe, probe_source
from clipflow.media.window import Span, Window, fetch_window
from clipflow.reframe.crop import FramePlan
from clipflow.settings import models
from clipflow.storage.objects import ObjectHead, ObjectStore
from clipflow.telemetry.progress import portion
from clipflow.telemetry.tracing import span

logger = logging.getLogger(__name__)

# The progress of a short when ffmpeg starts, after faces have been found.
_GATHERED = 0.25
# The name and the largest size of the framing in a short's metadata, which S3 limits to 2 KB.
_FRAMING, _LONGEST_METADATA = "framing", 1400


@dataclass(frozen=True)
class Render:
    """One short to make; `number` counts from 1, best first."""

    keys: ShortsKeys
    config: ShortsConfig
    number: int
    moment: Moment

    @property
    def label(self) -> str:
        """The name in the UI: `1: 00:15:30-00:16:10`."""
        return f"{self.number}: {Span(self.moment.start, self.moment.end)}"


def render(job: Render, objects: ObjectStore, machine: Machine, *, force: bool) -> Short:
    """Makes and stores the short and its segment, unless they exist with the same fingerprint.

    Raises the errors of reading, ffmpeg and storing.
    """
    key, moment = job.keys.short(job.number), job.moment
    video = find_source([job.keys.original], objects)
    below = _background(job.config, objects)
    spoken = read_transcript(job.keys, objects).within(float(moment.start), float(moment.end))
    made_from = fingerprints.of_short(video, below, moment, spoken.words, job.config, models())
    head = objects.head(key)
    if head and not force and is_made_from(head, made_from):
        return Short.made(job.number, key, moment, head.size, _stored_framing(head))
    # The segment is missing if an earlier step could not cut it. The error then fails only this
    # short.
    planned = plan_moment(job.keys, job.config, job.number, moment, objects)
    make_moment(planned, objects, machine, force=False)
    with span("render") as work, work_folder(machine.scratch, _needed(job)) as scratch:
        path = scratch / "short.mp4"
        with portion(0, _GATHERED):
            made_of = _gather(job, video, below, spoken, objects, scratch)
        with encoder_slot(machine), portion(_GATHERED, 1):
            _make(made_of, path, job, machine)
        duration = made_of.window.span.duration
        width, height = made_of.size
        metadata = video_metadata(duration, f"{width}x{height}", 1, video.etag, made_from)
        framing = made_of.plan.framing
        metadata |= _framing_metadata(framing)
        if framing.warning:
            logger.warning("%s: %s", job.label, framing.warning)
        objects.upload(path, key, metadata)
        work.bytes_written = path.stat().st_size
        return Short.made(job.number, key, moment, work.bytes_written, framing)


def _framing_metadata(framing: Framing) -> dict[str, str]:
    """The framing as metadata of the short's object, from which the next run reads it."""
    whole = framing.model_dump_json()
    return {_FRAMING: whole if len(whole) <= _LONGEST_METADATA else _shortened(framing)}


def _shortened(framing: Framing) -> str:
    return framing.model_copy(update={"layouts": ()}).model_dump_json()


def _stored_framing(head: ObjectHead) -> Framing | None:
    text = head.metadata.get(_FRAMING)
    return Framing.model_validate_json(text) if text else None


def _needed(job: Render) -> int:
    # For the window, the background's window and the short, each at most as large as 1080p.
    duration = job.moment.end - job.moment.start
    return 3 * encoded_bytes(_pixels(job.config), duration)


def _background(config: ShortsConfig, objects: ObjectStore) -> ObjectHead | None:
    if not config.background_video or not config.rendered_layout.has(Content.BACKGROUND):
        return None
    return find_source([config.background_video], objects)


def _gather(
    job: Render,
    video: ObjectHead,
    below: ObjectHead | None,
    spoken: Transcript,
    objects: ObjectStore,
    scratch: Path,
) -> Ingredients:
    """The inputs of ffmpeg, stored in `scratch`."""
    config, written = job.config, scratch / "captions.ass"
    source = open_source(video, objects)
    probe = probe_source(source, config.audio_track)
    span = span_within(Span(job.moment.start, job.moment.end), probe)
    window = fetch_window(source, probe, span, scratch / "window.nut")
    plan = _plan(window, probe, config.rendered_layout, config, spoken)
    style, size = config.caption_style, config.aspect.size
    centre = plan.captions_centre
    again, clock = repeats(window.frames, span.duration), scratch / "clock.nut"
    if again:
        write_times(again, window.frames[0], clock)
    text = captions(spoken.words, sorted((*window.frames, *again)), style, centre, size)
    written.write_text(text, encoding="utf-8")
    return Ingredients(
        window=window,
        probe=probe,
        size=size,
        plan=plan,
        background=_fetched(below, span.duration, objects, scratch) if below else None,
        captions=written,
        loudness=measure_loudness(window.path, window.origin, window.origin + span.duration),
        repeats=again,
        clock=clock if again else None,
    )


def _plan(
    window: Window, probe: Probe, layout: Layout, config: ShortsConfig, spoken: Transcript
) -> FramePlan:
    # Imported here because these modules import OpenCV, which no other step needs.
    from clipflow.reframe.analysis import Film
    from clipflow.reframe.director import plan_frames

    end = window.origin + window.span.duration
    size = (probe.width, probe.height)
    film = Film(window.path, size, probe.rotation, window.origin, end, probe.mirrored)
    faces, mouths = models().face_model, models().mouth_model
    return plan_frames(film, layout, config.aspect, spoken.words, faces, mouths)


def _pixels(config: ShortsConfig) -> int:
    width, height = config.aspect.size
    return width * height


def _fetched(
    head: ObjectHead, duration: Fraction, objects: ObjectStore, scratch: Path
) -> Background:
    """The beginning of the background video, as long as the short if it has that length."""
    source = open_source(head, objects)
    probe = probe_source(source)
    span = Span(Fraction(0), min(duration, probe.duration or duration))
    return Background(fetch_window(source, probe, span, scratch / "background.nut").path, probe)


def _make(made_of: Ingredients, path: Path, job: Render, machine: Machine) -> None:
    action = f"rendering short {job.label} of {job.keys.label}"
    window, pixels = made_of.window, _pixels(job.config)
    shown = replace(window, frames=tuple(sorted((*window.frames, *made_of.repeats))))
    ffmpeg.run(
        picture.render_command(made_of, path, machine.threads),
        action,
        machine,
        encode_timeout(pixels, window.span.duration),
        max_bytes=max_output_bytes(pixels, len(shown.frames), window.span.duration),
        duration=window.span.duration,
    )
    verify_frame_count(shown, path, action)
