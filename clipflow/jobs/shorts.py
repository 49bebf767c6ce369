"""The steps of the shorts job, except transcription and rendering."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from clipflow.domain.edits import Edits
from clipflow.domain.errors import InvalidInputError, NoMomentsError
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.model import parse_json
from clipflow.domain.shorts import Moment, ShortsConfig
from clipflow.highlights.moments import carry_over, identified, pick
from clipflow.highlights.pieces import Brief
from clipflow.jobs import fingerprints
from clipflow.jobs.edits import read_corrected, refused_ids, with_edits
from clipflow.jobs.looks import check_looks
from clipflow.jobs.segment import (
    SegmentPlan,
    checkpoint,
    find_source,
    is_made_from,
    make_segment,
    open_source,
    span_within,
)
from clipflow.jobs.transcription import read_transcript
from clipflow.machine import Machine, work_folder
from clipflow.media import ffmpeg
from clipflow.media.output_format import common_format, to_sdr
from clipflow.media.probe import probe_source
from clipflow.media.window import Span
from clipflow.settings import Models
from clipflow.storage.objects import ObjectStore
from clipflow.subtitles.cue_files import srt_text

logger = logging.getLogger(__name__)

_LARGEST_CONFIG_BYTES = 1 << 20


def read_config(
    keys: ShortsKeys, objects: ObjectStore, scratch: Path | None = None
) -> ShortsConfig:
    """Reads and validates the video's config, before any expensive work.

    With a folder `scratch`, its caption style, fonts and brand are checked too. Raises
    SourceNotFoundError without a config or its background video, InvalidInputError if the config
    is invalid, and the errors of `probe_source` for the background video.
    """
    text = objects.data(keys.config, _LARGEST_CONFIG_BYTES)
    config = ShortsConfig.read(parse_json(text, keys.config, "Correct it."), keys.config)
    for name, configured, actual in (
        ("user_id", config.user_id, keys.user_id),
        ("video_id", config.video_id, keys.video_id),
    ):
        if configured not in (None, actual):
            logger.warning("%s has %s %s; %s is used.", keys.config, name, configured, actual)
    if config.background_video:
        probe_source(open_source(find_source([config.background_video], objects), objects))
    if scratch:
        check_looks(config, objects, scratch)
    return config


_LARGEST_MOMENTS_BYTES = 1 << 20


def choose_moments(
    keys: ShortsKeys,
    config: ShortsConfig,
    edits: Edits,
    objects: ObjectStore,
    models: Models,
    *,
    force: bool,
) -> list[Moment]:
    """The best moments with ids and numbers, best first, at most `segment_count`.

    Moments that the user has edited are always kept.

    Moments that were chosen for the same words and config are reused, because a language model
    would choose others and every short would be made again. Raises the errors of `pick`.
    """
    video, words = find_source([keys.original], objects), find_source([keys.words], objects)
    made_from = fingerprints.of_moments(video, words, config, models)
    if not force and is_made_from(objects.head(keys.moments), made_from):
        return read_moments(keys, objects)
    duration = probe_source(open_source(video, objects)).duration
    brief = Brief(
        config.segment_count,
        config.target,
        duration,
        durations=config.durations,
        between=config.video_range,
        topics=config.topics,
        instructions=config.instructions,
    )
    if note := ineffective(config, models):
        logger.warning("%s", note)
    moments = pick(read_transcript(keys, objects), brief, models.highlight_model)
    if not moments:
        raise NoMomentsError(
            f"Nothing said in {keys.label} makes a moment of about {config.target:g} s.",
            "Request shorter ones, or check the transcript.",
        )
    moments = carry_over(
        _previous_moments(keys, objects),
        moments,
        edits.touched,
        refused_ids(edits),
        config.segment_count,
    )
    documents = [moment.model_dump(mode="json", exclude_none=True) for moment in moments]
    text = json.dumps(documents, ensure_ascii=False, indent=2)
    objects.put_text(text, keys.moments, checkpoint(video.etag, made_from), "application/json")
    return moments


def ineffective(config: ShortsConfig, models: Models) -> str:
    """A note for people if the config has instructions and there is no language model; else
    empty."""
    if not config.instructions or models.highlight_model:
        return ""
    return "`instructions` have no effect: CLIPFLOW_HIGHLIGHT_MODEL names no language model."


def read_moments(keys: ShortsKeys, objects: ObjectStore) -> list[Moment]:
    """The stored moments, by their numbers. Raises InvalidInputError if they are invalid."""
    text = objects.text(keys.moments, _LARGEST_MOMENTS_BYTES)
    values = parse_json(text, keys.moments, "Delete it.")
    if not isinstance(values, list):
        raise InvalidInputError(f"{keys.moments} is not a list of moments.", "Delete it.")
    return identified([Moment.read(value, f"a moment of {keys.moments}") for value in values])


def _previous_moments(keys: ShortsKeys, objects: ObjectStore) -> list[Moment]:
    """The moments of the last selection; none if there was none, or its file cannot be read."""
    try:
        return read_moments(keys, objects) if objects.head(keys.moments) else []
    except InvalidInputError as error:
        logger.warning("The ids of the last choosing are lost: %s", error)
        return []


def edited_moments(
    keys: ShortsKeys, moments: list[Moment], edits: Edits, objects: ObjectStore
) -> list[Moment]:
    """The moments with the user's edits. Raises InvalidInputError for a span that is too short or
    too long."""
    words = read_transcript(keys, objects).words if edits != Edits() else ()
    return with_edits(moments, edits, words, keys.edits)


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


def plan_moment(
    keys: ShortsKeys, config: ShortsConfig, number: int, moment: Moment, objects: ObjectStore
) -> PlannedMoment:
    """The segment of one moment. Raises InvalidInputError if it is not within the video."""
    head = find_source([keys.original], objects)
    probe = probe_source(open_source(head, objects), config.audio_track)
    span = span_within(Span(moment.start, moment.end), probe)
    target = to_sdr(common_format([probe]))
    return PlannedMoment(number, keys, SegmentPlan(keys.segment(number), head, probe, span, target))


def make_moment(
    planned: PlannedMoment, objects: ObjectStore, machine: Machine, *, force: bool
) -> None:
    """Stores the moment's segment and its subtitles. Raises the errors of `make_segment`."""
    make_segment(planned.plan, objects, machine, force=force)
    span = planned.plan.span
    shown = read_corrected(planned.keys, objects).transcript
    spoken = shown.within(float(span.start), float(span.end))
    text, key = srt_text(spoken), planned.keys.segment_subtitles(planned.number)
    made_from = fingerprints.of_subtitles(text)
    if not is_made_from(objects.head(key), made_from):
        metadata = checkpoint(planned.plan.head.etag, made_from)
        objects.put_text(text, key, metadata, "application/x-subrip")


def make_thumbnail(
    keys: ShortsKeys, moments: list[Moment], objects: ObjectStore, machine: Machine
) -> None:
    """Stores a thumbnail of the video, unless it has one.

    It is the first frame of the best moment that has a segment.
    """
    wanted = [m.index or n for n, m in enumerate(moments, 1) if not m.is_refused]
    if not wanted or objects.head(keys.thumbnail):
        return
    segment = find_source([keys.segment(number) for number in wanted], objects)
    with work_folder(machine.scratch, segment.size + _LARGEST_THUMBNAIL) as scratch:
        video, picture = scratch / "segment.mp4", scratch / "thumbnail.png"
        objects.download(segment, video)
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
