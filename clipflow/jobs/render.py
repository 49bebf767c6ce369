"""Rendering of one short, with layout, crop and captions."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from pydantic import TypeAdapter

from clipflow.captions.drawing import captions
from clipflow.captions.hook import placed_hook
from clipflow.domain.brands import LONGEST_PART
from clipflow.domain.edits import Edits, View, corrected, views_within
from clipflow.domain.errors import MediaInterruptedError
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.layouts import Content
from clipflow.domain.removals import Tightening
from clipflow.domain.shorts import Framing, Moment, Short, ShortsConfig
from clipflow.domain.timecode import format_clock
from clipflow.domain.transcript import Word
from clipflow.jobs import fingerprints, picture
from clipflow.jobs.brand import BrandParts, fetch_brand
from clipflow.jobs.cost import render_cpu_seconds
from clipflow.jobs.edits import config_of, read_edits
from clipflow.jobs.fingerprints import Looks
from clipflow.jobs.looks import (
    caption_boxes,
    caption_moves,
    captions_line,
    chosen_looks,
    fetch_fonts,
    first_lines,
)
from clipflow.jobs.picture import Background, Ingredients, repeats, write_times
from clipflow.jobs.posts import fetch_and_put_thumbnail, put_thumbnail, stored_thumbnail
from clipflow.jobs.segment import (
    checkpoint,
    find_source,
    is_made_from,
    open_source,
    span_within,
    video_metadata,
)
from clipflow.jobs.shorts import make_moment, plan_moment
from clipflow.jobs.tighten import (
    SpokenMoment,
    Tightened,
    kept_frames,
    still_restored,
    store_tightening,
    stored_tightening,
    tighten,
    tightened_plan,
)
from clipflow.jobs.transcription import read_transcript
from clipflow.machine import Machine, encoded_bytes, encoder_slot, work_folder
from clipflow.media import ffmpeg
from clipflow.media.encode import verify_frame_count
from clipflow.media.fetching import fetch_window
from clipflow.media.ffmpeg import encode_timeout, max_output_bytes
from clipflow.media.loudness import normal_loudness
from clipflow.media.probe import Probe, probe_source
from clipflow.media.window import Span, Window
from clipflow.reframe.crop import FramePlan
from clipflow.settings import Models
from clipflow.storage.objects import ObjectHead, ObjectStore
from clipflow.telemetry.progress import portion
from clipflow.telemetry.tracing import span

logger = logging.getLogger(__name__)

# The progress of a short when its segment is cut, and when ffmpeg starts, after faces were found.
_CUT, _GATHERED = 0.1, 0.3
# The name and the largest size of the framing in a short's metadata, which S3 limits to 2 KB.
_FRAMING, _LONGEST_METADATA = "framing", 1400


@dataclass(frozen=True)
class Render:
    """One short to make; `number` counts from 1, best first.

    `config`, `moment` and `views` include the user's edits. `restored` has the removals that
    tightening does not make, by id, each with its word.
    """

    keys: ShortsKeys
    config: ShortsConfig
    number: int
    moment: Moment
    views: tuple[View, ...] = ()
    restored: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name in the UI: `1: 00:15:30-00:16:10`."""
        return f"{self.number}: {Span(self.moment.start, self.moment.end)}"

    @property
    def cpu_seconds(self) -> float:
        """What making it is estimated to cost."""
        seconds = float(self.moment.end - self.moment.start)
        return render_cpu_seconds(seconds, _pixels(self.config))

    def refused(self) -> Short:
        """The entry in the record for a short that the user has rejected."""
        return Short.refused(self.number, self.keys.short(self.number), self.moment)


@dataclass(frozen=True)
class RenderGroup:
    """Shorts of a video that one machine makes."""

    renders: tuple[Render, ...]

    @property
    def label(self) -> str:
        """The name in the UI: that of a single short, or `shorts 1, 2, 5`."""
        if len(self.renders) == 1:
            return self.renders[0].label
        return f"shorts {', '.join(str(each.number) for each in self.renders)}"


def plan_renders(
    keys: ShortsKeys, config: ShortsConfig, moments: Sequence[Moment], edits: Edits
) -> list[Render]:
    """The short of each moment with the user's edits, including rejected ones."""
    renders = []
    for place, moment in enumerate(moments, start=1):
        edit = edits.shorts.get(moment.id or "")
        views, restored = (edit.framing, edit.restored) if edit else ((), {})
        number = moment.index or place
        renders.append(Render(keys, config_of(config, edit), number, moment, views, restored))
    return renders


def render(
    job: Render, objects: ObjectStore, machine: Machine, models: Models, *, force: bool
) -> Short:
    """Makes and stores the short and its segment, unless they exist with the same fingerprint.

    Raises the errors of reading, ffmpeg and storing.
    """
    key, moment = job.keys.short(job.number), job.moment
    frame = job.keys.short_thumbnail(job.number)
    video = find_source([job.keys.original], objects)
    below = _background(job.config, objects)
    looks = chosen_looks(job.config, moment.hook_text, objects)
    transcript = read_transcript(job.keys, objects)
    shown = corrected(transcript, read_edits(job.keys, objects))
    spoken = SpokenMoment(moment, transcript, shown)
    made_from = fingerprints.of_short(
        video,
        below,
        moment,
        spoken.words,
        job.config,
        models,
        looks,
        job.views,
        _tightened(job, spoken),
    )
    head = objects.head(key)
    is_made = not force and is_made_from(head, made_from)
    if not is_made or objects.head(job.keys.segment(job.number)) is None:
        planned = plan_moment(job.keys, job.config, job.number, moment, objects)
        with portion(0, _CUT):
            make_moment(planned, objects, machine, force=force)
    if head and is_made:
        made = stored_short(job, head, objects)
        # The list of what was taken out is part of a tightened short.
        if made.tightening or not job.config.tighten:
            thumbnail = stored_thumbnail(frame, head, objects, models)
            thumbnail = thumbnail or fetch_and_put_thumbnail(frame, head, objects, machine, models)
            return made.model_copy(update={"thumbnail": thumbnail})
    with span("render") as work, work_folder(machine.scratch, _needed(job)) as scratch:
        path = scratch / "short.mp4"
        with portion(_CUT, _GATHERED):
            sources = _Sources(video, below, looks, objects, force)
            made_of, tightening = _gather(job, sources, spoken, models, scratch)
        with encoder_slot(machine), portion(_GATHERED, 1):
            _make(made_of, path, job, machine)
        duration = made_of.duration + made_of.brand.duration
        width, height = made_of.size
        metadata = video_metadata(duration, f"{width}x{height}", 1, video.etag, made_from)
        framing = made_of.plan.framing
        metadata |= _framing_metadata(framing) | made_of.brand.times
        if framing.warning:
            logger.warning("%s: %s", job.label, framing.warning)
        if tightening is not None:
            # Before the short, which refers to it by its fingerprint.
            store_tightening(job.keys, job.number, tightening, video.etag, made_from, objects)
        objects.upload(path, key, metadata)
        work.bytes_written = path.stat().st_size
        stored = objects.head(key)
        if stored is None:
            raise MediaInterruptedError(
                f"{job.label} of {job.keys.label} was stored, yet is not there."
            )
        thumbnail = put_thumbnail(frame, stored, path, objects, machine, models)
    short = stored_short(job, stored, objects)
    return short.model_copy(update={"framing": framing, "thumbnail": thumbnail})


def stored_short(job: Render, head: ObjectHead, objects: ObjectStore) -> Short:
    """A finished short, from its object. Its framing lacks the layouts if they are too many for
    the object's metadata."""
    number, framing, tightening = job.number, _stored_framing(head), None
    if job.config.tighten:
        tightening = stored_tightening(job.keys, number, head, objects)
    made = Short.made(number, head.key, job.moment, head.size, framing, head.etag, tightening)
    # The duration with intro and outro.
    whole = head.metadata.get("duration-seconds")
    return made.model_copy(update={"duration": format_clock(Fraction(whole))}) if whole else made


def _tightened(job: Render, spoken: SpokenMoment) -> object:
    """The inputs of tightening besides the words that are shown; None if nothing is taken out."""
    if not job.config.tighten:
        return None
    words = spoken.recognized_words
    restored = still_restored(job.restored, spoken.recognized.words)
    said, language = [(word.start, word.end) for word in words], spoken.recognized.language
    return [said, language, restored, job.config.durations]


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
    if job.config.brand:
        duration += 2 * LONGEST_PART
    return 3 * encoded_bytes(_pixels(job.config), duration)


def _background(config: ShortsConfig, objects: ObjectStore) -> ObjectHead | None:
    if not config.background_video or not config.rendered_layout.has(Content.BACKGROUND):
        return None
    return find_source([config.background_video], objects)


@dataclass(frozen=True)
class _Sources:
    """The objects that a short is made of; with `force`, a stored frame plan is not used."""

    video: ObjectHead
    below: ObjectHead | None
    looks: Looks
    objects: ObjectStore
    force: bool


def _gather(
    job: Render,
    sources: _Sources,
    spoken: SpokenMoment,
    models: Models,
    scratch: Path,
) -> tuple[Ingredients, Tightening | None]:
    """The inputs of ffmpeg, stored in `scratch`, and what is taken out if it is tightened."""
    config, written = job.config, scratch / "captions.ass"
    below, objects = sources.below, sources.objects
    source = open_source(sources.video, objects)
    probe = probe_source(source, config.audio_track)
    span = span_within(Span(job.moment.start, job.moment.end), probe)
    window = fetch_window(source, probe, span, scratch / "window.nut")
    plan = _stored_plan(job, sources, window, probe, spoken.recognized_words, models)
    tightened = _taken_out(job, window, spoken)
    timeline = tightened.timeline if tightened and tightened.cuts else None
    frames, duration = window.frames, span.duration
    if timeline:
        frames, duration = kept_frames(frames, timeline), timeline.duration
        plan = tightened_plan(plan, timeline, window.frames[0], frames[0])
    style, size = sources.looks.style, config.aspect.size
    fonts = fetch_fonts(sources.looks, objects, scratch)
    centre = captions_line(plan, style, size)
    moves = caption_moves(plan, style, centre, size)
    again, clock = repeats(frames, duration), scratch / "clock.nut"
    if again:
        write_times(again, frames[0], clock)
    times = sorted((*frames, *again))
    taken = caption_boxes(style, [centre, *(line for _, line in moves)], size)
    brand = BrandParts()
    if sources.looks.brand:
        chosen, files = sources.looks.brand, sources.looks.files
        brand = fetch_brand(chosen, files, size, taken, duration, len(times), objects, scratch)
    logo = [brand.logo.box] if brand.logo else []
    first = caption_boxes(style, first_lines(centre, moves), size)
    hook = placed_hook(sources.looks.hook, size, plan.faces, [*first, *logo])
    words = tightened.words if tightened else spoken.words
    text = captions(words, times, style, centre, size, fonts.typeface, hook, moves)
    written.write_text(text, encoding="utf-8")
    origin, cuts = window.origin, tightened.cuts if tightened else ()
    said = [(word.start, word.end) for word in spoken.recognized_words]
    made_of = Ingredients(
        window=window,
        probe=probe,
        size=size,
        plan=plan,
        background=_fetched(below, duration, objects, scratch) if below else None,
        captions=written,
        fonts=fonts.folder,
        loudness=normal_loudness(window.path, origin, origin + span.duration, cuts, said),
        repeats=again,
        clock=clock if again else None,
        timeline=timeline,
        brand=brand,
    )
    return made_of, _listed(job, tightened) if config.tighten else None


def _taken_out(job: Render, window: Window, spoken: SpokenMoment) -> Tightened | None:
    if not job.config.tighten:
        return None
    frames = sorted((*window.frames, *repeats(window.frames, window.span.duration)))
    restored = still_restored(job.restored, spoken.recognized.words)
    return tighten(window, spoken, frames, restored, job.config.durations)


def _listed(job: Render, tightened: Tightened | None) -> Tightening:
    """What is taken out, with all the ids that a person has put back without an effect."""
    found = tightened.tightening if tightened else Tightening()
    put_back = tightened.put_back if tightened else frozenset()
    ignored = tuple(id for id in job.restored if id not in put_back)
    if ignored:
        logger.warning(
            "%s: nothing with the id %s is taken out, so putting it back has no effect.",
            job.label,
            " or ".join(ignored),
        )
    return found.model_copy(update={"ignored": ignored})


_plans = TypeAdapter(FramePlan)
_LARGEST_PLAN_BYTES = 16 << 20


def _stored_plan(
    job: Render,
    sources: _Sources,
    window: Window,
    probe: Probe,
    recognized: Sequence[Word],
    models: Models,
) -> FramePlan:
    """The stored frame plan if it has the same fingerprint, else a new one.

    It depends on the recognised words, so the picture is not analysed again after a correction.
    """
    objects, key = sources.objects, job.keys.frame_plan(job.number)
    made_from = fingerprints.of_frame_plan(
        sources.video, job.moment, recognized, job.config, models, job.views
    )
    if not sources.force and is_made_from(objects.head(key), made_from):
        return _plans.validate_json(objects.data(key, _LARGEST_PLAN_BYTES))
    plan = _plan(window, probe, job, recognized, models)
    metadata = checkpoint(sources.video.etag, made_from)
    objects.put_text(_plans.dump_json(plan).decode(), key, metadata, "application/json")
    return plan


def _plan(
    window: Window, probe: Probe, job: Render, words: Sequence[Word], models: Models
) -> FramePlan:
    # Imported here because these modules import OpenCV, which no other step needs.
    from clipflow.reframe.analysis import Film
    from clipflow.reframe.director import plan_frames

    end = window.origin + window.span.duration
    size = (probe.width, probe.height)
    film = Film(window.path, size, probe.rotation, window.origin, end, probe.mirrored, probe.name)
    faces, mouths = models.face_model, models.mouth_model
    config = job.config
    return plan_frames(
        film,
        config.rendered_layout,
        config.aspect,
        words,
        faces,
        mouths,
        views_within(job.views, float(job.moment.start), float(job.moment.end)),
    )


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
    return Background(fetch_window(source, probe, span, scratch / "background.nut"), probe)


def _make(made_of: Ingredients, path: Path, job: Render, machine: Machine) -> None:
    action = f"rendering short {job.label} of {job.keys.label}"
    window, pixels = made_of.window, _pixels(job.config)
    brand, duration = made_of.brand, made_of.duration + made_of.brand.duration
    count = len(made_of.frames) + len(made_of.repeats) + brand.frames
    ffmpeg.run(
        picture.render_command(made_of, path, machine.threads),
        action,
        machine,
        # The parts that are taken out are decoded too.
        encode_timeout(pixels, window.span.duration + brand.duration),
        max_bytes=max_output_bytes(pixels, count, duration),
        duration=duration,
    )
    # Only the number of these frames counts.
    verify_frame_count(replace(window, frames=(Fraction(0),) * count), path, action)
