"""A finished object is the checkpoint: its metadata says what it was made from."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from math import floor

from clipflow import PIPELINE_VERSION
from clipflow.domain.errors import InvalidInputError, SourceNotFoundError
from clipflow.domain.timecode import format_timecode
from clipflow.jobs import fingerprints
from clipflow.jobs.scratch import encoded_bytes, window_bytes, work_folder
from clipflow.machine import Machine, encoder_slot
from clipflow.media.hls import LARGEST_PLAYLIST_BYTES, Playlist, parse_playlist, resolve_uri
from clipflow.media.output_format import OutputFormat
from clipflow.media.probe import Probe
from clipflow.media.smart_cut import smart_cut
from clipflow.media.source import PLAYLIST, FileSource, PlaylistSource, Source
from clipflow.media.window import Span, fetch_window
from clipflow.storage.objects import ObjectHead, ObjectStore
from clipflow.telemetry.logging import SEGMENT_MADE, emit_metric
from clipflow.telemetry.progress import portion
from clipflow.telemetry.tracing import Work, counting_bytes, span

MADE_FROM = "made-from"


def is_made_from(head: ObjectHead | None, made_from: str) -> bool:
    """Whether there is a finished object that says it was made from just this."""
    return head is not None and head.metadata.get(MADE_FROM) == made_from


def is_ours(head: ObjectHead) -> bool:
    """Whether clipflow made the object, and not a person."""
    return MADE_FROM in head.metadata


def checkpoint(etag: str, made_from: str) -> dict[str, str]:
    """The metadata of anything that is made from the source with this etag."""
    return {"source-etag": etag, "pipeline-version": PIPELINE_VERSION, MADE_FROM: made_from}


def video_metadata(
    duration: Fraction, resolution: str, count: int, etag: str, made_from: str
) -> dict[str, str]:
    """The metadata of a finished video: what it is, and what it was made from."""
    return {
        "duration-seconds": f"{float(duration):.6f}".rstrip("0").rstrip("."),
        "resolution": resolution,
        "segment-count": str(count),
        **checkpoint(etag, made_from),
    }


def find_source(candidates: list[str], objects: ObjectStore) -> ObjectHead:
    """The first of `candidates` that exists; the etag of a playlist stands for what it names, too.

    Raises SourceNotFoundError where none does.
    """
    for key in candidates:
        head = objects.head(key)
        if head:
            return _with_content(head, objects) if key.endswith(PLAYLIST) else head
    raise SourceNotFoundError(
        f"There is no source at {' or '.join(candidates)}.",
        "Upload it, or correct what names it.",
    )


def _with_content(head: ObjectHead, objects: ObjectStore) -> ObjectHead:
    """The playlist's head with an etag that changes with any object that the playlist names."""
    texts: list[str] = []
    key = head.key
    # Whoever opens the source says what is wrong with its playlists.
    with suppress(InvalidInputError, SourceNotFoundError):
        for _ in ("master", "media"):
            texts.append(objects.text(key, LARGEST_PLAYLIST_BYTES))
            playlist = parse_playlist(texts[-1], key)
            if isinstance(playlist, str):
                key = playlist
                continue
            named = {resolve_uri(key, uri) for uri in _uris(playlist)}
            # An S3 prefix is of characters, not of folders.
            prefix = os.path.commonprefix(sorted(named))  # noqa: RUF071
            found = objects.etags(prefix) if named else {}
            etags = {name: found.get(name, "") for name in named}
            return replace(head, etag=fingerprints.of_playlist(texts, etags))
    return head


def _uris(playlist: Playlist) -> Iterator[str]:
    for chunk in playlist.chunks:
        yield chunk.media.uri
        if chunk.header:
            yield chunk.header.uri
        if chunk.key:
            yield chunk.key.uri


def open_source(head: ObjectHead, objects: ObjectStore) -> Source:
    """The source at `head`, ready to be read by range. Raises InvalidInputError for a bad
    playlist."""
    if not head.key.endswith(PLAYLIST):
        return FileSource(
            head.key, head.etag, head.size, counting_bytes(partial(objects.part, head))
        )
    key = head.key
    for _ in ("master", "media"):
        playlist = parse_playlist(objects.text(key, LARGEST_PLAYLIST_BYTES), key)
        if not isinstance(playlist, str):
            return PlaylistSource(head.key, head.etag, playlist, partial(_address, objects, key))
        key = playlist
    raise InvalidInputError(f"{head.key} names a master playlist that names another.")


def _address(objects: ObjectStore, playlist_key: str, uri: str) -> str:
    return objects.url(resolve_uri(playlist_key, uri))


logger = logging.getLogger(__name__)

# An end this far past the source's is taken for its end: detectors round up.
_CLAMP_SECONDS = 1
# The share of the work that is done when the window is on disk.
_FETCHED = 0.25

# By it the lifecycle of infra/data.yaml knows what a finished clip needs no longer.
TAGS = "kind=segment"


@dataclass(frozen=True)
class SegmentPlan:
    """One segment to make: which span of which object, in which output format, under which key."""

    key: str
    head: ObjectHead
    source: Probe
    span: Span
    target: OutputFormat

    @property
    def fingerprint(self) -> str:
        """Equal for equal segments."""
        return fingerprints.of_segment(self.head, self.span, self.target)


def span_within(span: Span, source: Probe) -> Span:
    """The span; an end up to a second past the source's is clamped to it.

    Raises InvalidInputError where it ends later than that.
    """
    if source.duration is None or span.end <= source.duration:
        return span
    if span.end > source.duration + _CLAMP_SECONDS or span.start >= source.duration:
        raise InvalidInputError(
            f"Segment {span} ends past {source.name}, "
            f"which lasts {format_timecode(source.duration)}.",
            "Correct the segment's times or its source.",
        )
    # To a microsecond, so that the length survives being written as a number.
    clamped = Fraction(floor(source.duration * 10**6), 10**6)
    logger.warning("%s: end clamped to %s", span, format_timecode(clamped))
    return Span(span.start, clamped)


def make_segment(
    plan: SegmentPlan, objects: ObjectStore, machine: Machine, *, force: bool = False
) -> int:
    """Make `plan`, unless it is there already, made from the same; its bytes.

    Raises what reading the source, cutting and storing raise.
    """
    head = objects.head(plan.key)
    if head and not force and is_made_from(head, plan.fingerprint):
        return head.size
    began = time.monotonic()
    with span("segment") as work:
        _make(plan, objects, work, machine)
    emit_metric(
        SEGMENT_MADE,
        f"{plan.key} is made: {plan.span} of {plan.source.name}, {work.cut_way}.",
        seconds=round(time.monotonic() - began, 3),
        bytes=work.bytes_written,
        bytes_read=work.bytes_read,
        cpu_seconds=round(work.cpu_seconds, 3),
        cut_way=work.cut_way,
    )
    return work.bytes_written


def _make(plan: SegmentPlan, objects: ObjectStore, work: Work, machine: Machine) -> None:
    with work_folder(machine.scratch, _needed(plan)) as scratch:
        path, window_path = scratch / "segment.mp4", scratch / "window.nut"
        source = open_source(plan.head, objects)
        with portion(0, _FETCHED):
            window = fetch_window(source, plan.source, plan.span, window_path)
        with encoder_slot(machine), portion(_FETCHED, 1):
            made = smart_cut(window, plan.source, plan.target, path, machine)
        metadata = video_metadata(
            plan.span.duration, plan.target.resolution, 1, plan.head.etag, plan.fingerprint
        )
        metadata["cut-way"] = made.label
        objects.upload(path, plan.key, metadata, tags=TAGS)
        # Of an encoded segment the label also says why.
        work.cut_way = made.label.partition(":")[0]
        work.bytes_written = path.stat().st_size
        # libavformat reads a playlist's chunks itself: what it kept of them is the least it read.
        work.bytes_read = work.bytes_read or window_path.stat().st_size


def _needed(plan: SegmentPlan) -> int:
    """Bytes on disk: the window, and what is encoded, once in parts and once as a whole."""
    duration, target = plan.span.duration, plan.target
    encoded = encoded_bytes(target.width * target.height, duration)
    return window_bytes(plan.head.size, plan.source.duration, duration) + 2 * encoded
