"""`shorts_config.json`, read and checked before any hours of work."""

import json
import logging
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from clipflow.domain.errors import InvalidInputError, NoMomentsError
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.model import parse_json
from clipflow.domain.shorts import Moment, ShortsConfig
from clipflow.domain.timecode import format_clock
from clipflow.domain.transcript import Transcript, read_words, words_json
from clipflow.highlights.moments import pick
from clipflow.highlights.pieces import Brief
from clipflow.jobs import fingerprints
from clipflow.jobs.scratch import work_folder
from clipflow.jobs.segment import (
    SegmentPlan,
    checkpoint,
    find_source,
    is_made_from,
    is_ours,
    make_segment,
    open_source,
    span_within,
)
from clipflow.machine import Machine
from clipflow.media import ffmpeg
from clipflow.media.output_format import common_format, to_sdr
from clipflow.media.probe import probe_source
from clipflow.media.window import Span
from clipflow.settings import models
from clipflow.speech import archive, audio
from clipflow.speech.sound import RATE, SAMPLE_BYTES
from clipflow.speech.transcriber import transcribe as transcribe_sound
from clipflow.storage.objects import ObjectHead, ObjectStore
from clipflow.subtitles.cues import srt_text
from clipflow.subtitles.reading import read_subtitles
from clipflow.telemetry.progress import portion

logger = logging.getLogger(__name__)

_LARGEST_CONFIG_BYTES = 1 << 20


def read_config(keys: ShortsKeys, objects: ObjectStore) -> ShortsConfig:
    """What the video's config asks for.

    Raises SourceNotFoundError where there is none, or no such background; InvalidInputError where
    it cannot be meant; what `probe_source` raises where the background is no video.
    """
    text = objects.text(keys.config, _LARGEST_CONFIG_BYTES)
    config = ShortsConfig.read(parse_json(text, keys.config, "Correct it."), keys.config)
    for name, said, probe in (
        ("user_id", config.user_id, keys.user_id),
        ("video_id", config.video_id, keys.video_id),
    ):
        if said not in (None, probe):
            logger.warning("%s says %s %s: %s is meant.", keys.config, name, said, probe)
    if config.background_video:
        probe_source(open_source(find_source([config.background_video], objects), objects))
    return config


# The share of the work that is done when the sound is on disk.
_READ = 0.2
# Ten hours of speech are about 100 000 words of 90 bytes.
_LARGEST_TRANSCRIPT_BYTES = 64 << 20
_LARGEST_MOMENTS_BYTES = 1 << 20
# Of twelve hours, as they are and packed; a video's sound is hardly larger than the video.
_SOUND_BYTES = 2 * 12 * 3600 * RATE * SAMPLE_BYTES
# In the metadata of the words.
_LANGUAGE = "language"


def transcribe(
    keys: ShortsKeys, language: str | None, objects: ObjectStore, machine: Machine, *, force: bool
) -> None:
    """Put the transcript's three objects, unless they are there already, made from the same.

    Raises SourceNotFoundError without a video, InvalidInputError where it has no sound, and what
    reading it and the transcriber raise.
    """
    video = find_source([keys.original], objects)
    supplied = _supplied_subtitles(keys, objects)
    made_from = fingerprints.of_transcript(video, supplied, language, models())
    if not force and is_made_from(objects.head(keys.words), made_from):
        return
    if supplied:
        content = objects.data(supplied.key, _LARGEST_TRANSCRIPT_BYTES)
        transcript = read_subtitles(content, supplied.key, language)
        _check_times(transcript, supplied.key, video, objects)
    else:
        transcript = _hear(keys, video, language, objects, machine, force)
    metadata = checkpoint(video.etag, made_from)
    if not supplied or supplied.key != keys.subtitles:
        objects.put_text(srt_text(transcript), keys.subtitles, metadata, "application/x-subrip")
    objects.put_text(transcript.text, keys.text, metadata, "text/plain")
    # Last, because it is what says that all three are there.
    metadata |= {_LANGUAGE: transcript.language or ""}
    objects.put_text(words_json(transcript.words), keys.words, metadata, "application/json")


def _supplied_subtitles(keys: ShortsKeys, objects: ObjectStore) -> ObjectHead | None:
    """The subtitles that somebody put beside the video; None where there are only our own."""
    heads = (objects.head(key) for key in keys.supplied_subtitles)
    return next((head for head in heads if head and not is_ours(head)), None)


def _check_times(
    transcript: Transcript, name: str, video: ObjectHead, objects: ObjectStore
) -> None:
    """Raises InvalidInputError where the subtitles begin after the end of the video."""
    duration = probe_source(open_source(video, objects)).duration
    begins = Fraction(str(transcript.words[0].start))
    if duration is None or begins < duration:
        return
    remedy = "Put the subtitles of this video there."
    hours = int(begins // 3600) * 3600
    if hours and begins - hours < duration:
        remedy = (
            f"They seem to count from {format_clock(Fraction(hours))}, as an editor's timeline "
            "does: export them with times from the beginning of the video."
        )
    raise InvalidInputError(
        f"{name} begins at {format_clock(begins)}, but {video.key} lasts only "
        f"{format_clock(duration)}.",
        remedy,
    )


def read_transcript(keys: ShortsKeys, objects: ObjectStore) -> Transcript:
    """What `transcribe` put."""
    head = find_source([keys.words], objects)
    words = read_words(objects.text(keys.words, _LARGEST_TRANSCRIPT_BYTES), keys.words)
    return Transcript(words, head.metadata.get(_LANGUAGE) or None)


def _hear(
    keys: ShortsKeys,
    video: ObjectHead,
    language: str | None,
    objects: ObjectStore,
    machine: Machine,
    force: bool,
) -> Transcript:
    kept = not force and is_made_from(objects.head(keys.sound), fingerprints.of_sound(video))
    with work_folder(machine.scratch, min(2 * video.size, _SOUND_BYTES)) as scratch:
        sound = scratch / "sound.raw"
        if kept:
            packed = sound.with_suffix(".flac")
            objects.download(keys.sound, packed)
            archive.unpack(packed, sound, machine)
        else:
            with portion(0, _READ):
                _keep_sound(keys, video, objects, machine, sound)
        with portion(_READ, 1):
            return transcribe_sound(sound, language, models())


def _keep_sound(
    keys: ShortsKeys, video: ObjectHead, objects: ObjectStore, machine: Machine, sound: Path
) -> None:
    """Write the video's sound to the file `sound`, and keep it for the next who listens."""
    source = open_source(video, objects)
    probe = probe_source(source)
    if probe.sound is None:
        raise InvalidInputError(
            f"{keys.label} has no sound, so no speech can be recognised in it.",
            "Give it subtitles.",
        )
    audio.extract(source, probe, sound)
    packed, made_from = sound.with_suffix(".flac"), fingerprints.of_sound(video)
    archive.pack(sound, packed, machine)
    objects.upload(packed, keys.sound, checkpoint(video.etag, made_from), "audio/flac")


def choose_moments(
    keys: ShortsKeys, config: ShortsConfig, objects: ObjectStore, *, force: bool
) -> list[Moment]:
    """The best moments, best first, as many as there are up to `segment_count`.

    What was chosen before from the same words for the same config is kept: a language model would
    choose others, and every short would be made anew. Raises what `pick` raises.
    """
    video, words = find_source([keys.original], objects), find_source([keys.words], objects)
    made_from = fingerprints.of_moments(video, words, config, models())
    if not force and is_made_from(objects.head(keys.moments), made_from):
        return read_moments(keys, objects)
    duration = probe_source(open_source(video, objects)).duration
    brief = Brief(config.segment_count, config.target_seconds, duration)
    moments = pick(read_transcript(keys, objects), brief, models().highlight_model)
    if not moments:
        raise NoMomentsError(
            f"Nothing said in {keys.label} makes a moment of about {config.target_seconds:g} s.",
            "Request shorter ones, or check the transcript.",
        )
    text = json.dumps(
        [moment.model_dump(mode="json") for moment in moments], ensure_ascii=False, indent=2
    )
    objects.put_text(text, keys.moments, checkpoint(video.etag, made_from), "application/json")
    return moments


def read_moments(keys: ShortsKeys, objects: ObjectStore) -> list[Moment]:
    """The moments chosen before, best first. Raises InvalidInputError where they cannot be read."""
    text = objects.text(keys.moments, _LARGEST_MOMENTS_BYTES)
    values = parse_json(text, keys.moments, "Delete it.")
    if not isinstance(values, list):
        raise InvalidInputError(f"{keys.moments} is not a list of moments.", "Delete it.")
    return [Moment.read(value, f"a moment of {keys.moments}") for value in values]


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
        """The name in the UI: `1: 00:15:30-00:16:10`."""
        return f"{self.number}: {self.plan.span}"


def plan_moments(
    keys: ShortsKeys, moments: list[Moment], objects: ObjectStore
) -> list[PlannedMoment]:
    """What to cut for each moment. Raises InvalidInputError for one that is not within the
    video."""
    head = find_source([keys.original], objects)
    probe = probe_source(open_source(head, objects))
    target = to_sdr(common_format([probe]))
    return [
        PlannedMoment(
            number,
            keys,
            SegmentPlan(
                keys.segment(number),
                head,
                probe,
                span_within(Span(moment.start, moment.end), probe),
                target,
            ),
        )
        for number, moment in enumerate(moments, start=1)
    ]


def make_moment(
    planned: PlannedMoment, objects: ObjectStore, machine: Machine, *, force: bool
) -> None:
    """Put the moment's segment and its subtitles. Raises what `make_segment` raises."""
    make_segment(planned.plan, objects, machine, force=force)
    span = planned.plan.span
    spoken = read_transcript(planned.keys, objects).within(float(span.start), float(span.end))
    text, key = srt_text(spoken), planned.keys.segment_subtitles(planned.number)
    made_from = fingerprints.of_subtitles(text)
    if not is_made_from(objects.head(key), made_from):
        metadata = checkpoint(planned.plan.head.etag, made_from)
        objects.put_text(text, key, metadata, "application/x-subrip")


def make_thumbnail(keys: ShortsKeys, objects: ObjectStore, machine: Machine) -> None:
    """Put the first frame of the best moment as the video's thumbnail, where it has none."""
    if objects.head(keys.thumbnail):
        return
    segment = find_source([keys.segment(1)], objects)
    with work_folder(machine.scratch, segment.size + _LARGEST_THUMBNAIL) as scratch:
        video, picture = scratch / "segment.mp4", scratch / "thumbnail.png"
        objects.download(segment.key, video)
        size = f"scale='min({_THUMBNAIL_WIDTH},iw)':-2"
        ffmpeg.run(
            ["-f", "mp4", "-i", str(video), *_ONE_FRAME, "-vf", size, str(picture)],
            f"making {keys.thumbnail}",
            machine,
            _THUMBNAIL_DEADLINE,
            max_bytes=_LARGEST_THUMBNAIL,
        )
        metadata = checkpoint(segment.etag, fingerprints.of_thumbnail(segment))
        objects.upload(picture, keys.thumbnail, metadata, "image/png")
