"""Making one segment of a clip, with the finished object as checkpoint.

The metadata of a finished object has the fingerprint of its inputs. An object whose fingerprint
matches is not made again.
"""

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
from clipflow.machine import Machine, encoded_bytes, encoder_slot, window_bytes, work_folder
from clipflow.media.fetching import fetch_window
from clipflow.media.hls import LARGEST_PLAYLIST_BYTES, Playlist, parse_playlist, resolve_uri
from clipflow.media.output_format import OutputFormat
from clipflow.media.probe import Probe
from clipflow.media.smart_cut import smart_cut
from clipflow.media.source import FileSource, PlaylistSource, Source
from clipflow.media.source_errors import PLAYLIST
from clipflow.media.window import Span
from clipflow.storage.objects import ObjectHead, ObjectStore
from clipflow.telemetry.logging import SEGMENT_MADE, emit_metric
from clipflow.telemetry.progress import portion
from clipflow.telemetry.tracing import Work, counting_bytes, span

logger = logging.getLogger(__name__)

MADE_FROM = "made-from"


def is_made_from(head: ObjectHead | None, made_from: str) -> bool:
    """Whether the object exists and its metadata has the fingerprint `made_from`."""
    return head is not None and head.metadata.get(MADE_FROM) == made_from


def is_ours(head: ObjectHead) -> bool:
    """Whether clipflow made the object, rather than a person who uploaded it."""
    return MADE_FROM in head.metadata


def checkpoint(etag: str, made_from: str) -> dict[str, str]:
    """The metadata of every output: the source's ETag, the pipeline version, the fingerprint."""
    return {"source-etag": etag, "pipeline-version": PIPELINE_VERSION, MADE_FROM: made_from}


def video_metadata(
    duration: Fraction, resolution: str, count: int, etag: str, made_from: str
) -> dict[str, str]:
    """The metadata of a finished video: its properties, and its checkpoint."""
    return {
        "duration-seconds": f"{float(duration):.6f}".rstrip("0").rstrip("."),
        "resolution": resolution,
        "segment-count": str(count),
        **checkpoint(etag, made_from),
    }


def find_source(candidates: list[str], objects: ObjectStore) -> ObjectHead:
    """The first of `candidates` that exists; a playlist's ETag covers the objects it refers to.

    Raises SourceNotFoundError if none does.
    """
    for key in candidates:
        head = objects.head(key)
        if head:
            return _with_content(head, objects) if key.endswith(PLAYLIST) else head
    raise SourceNotFoundError(
        f"There is no source at {' or '.join(candidates)}.",
        "Upload it, or correct the key.",
    )


def _with_content(head: ObjectHead, objects: ObjectStore) -> ObjectHead:
    """The playlist's head with an ETag that changes with any object that it refers to."""
    texts: list[str] = []
    key = head.key
    # Invalid playlists are reported when the source is opened.
    with suppress(InvalidInputError, SourceNotFoundError):
        for _ in ("master", "media"):
            texts.append(objects.text(key, LARGEST_PLAYLIST_BYTES))
            playlist = parse_playlist(texts[-1], key)
            if isinstance(playlist, str):
                key = playlist
                continue
            named = {resolve_uri(key, uri) for uri in _uris(playlist)}
            # An S3 prefix is a prefix of characters, not of path segments.
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
    """The source at `head`, to be read by range.

    Raises InvalidInputError for an invalid playlist.
    """
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
    raise InvalidInputError(f"{head.key} refers to a master playlist that refers to another one.")


def _address(objects: ObjectStore, playlist_key: str, uri: str) -> str:
    return objects.url(resolve_uri(playlist_key, uri))


# Seconds by which a segment may end after its source, as detectors round up. Its end is clamped.
_CLAMP_SECONDS = 1
# The progress of a segment when its window has been fetched.
_FETCHED_SHARE = 0.25

# The tag by which the lifecycle rules in infra/data.yaml expire segments.
TAGS = "kind=segment"


@dataclass(frozen=True)
class SegmentPlan:
    """One segment to make: the key to store it at, its source and span, and its output format."""

    key: str
    head: ObjectHead
    source: Probe
    span: Span
    target: OutputFormat

    @property
    def fingerprint(self) -> str:
        """A digest that is equal for segments with the same inputs."""
        track = self.source.audio.track if self.source.audio else None
        return fingerprints.of_segment(self.head, self.span, self.target, track)


def span_within(span: Span, source: Probe) -> Span:
    """The span; an end up to a second after the source's end is clamped to it.

    Raises InvalidInputError if it ends later than that.
    """
    if source.duration is None or span.end <= source.duration:
        return span
    if span.end > source.duration + _CLAMP_SECONDS or span.start >= source.duration:
        raise InvalidInputError(
            f"Segment {span} ends past {source.name}, "
            f"which lasts {format_timecode(source.duration)}.",
            "Correct the segment's times or its source.",
        )
    # Rounded down to a microsecond, because the record stores the duration as a decimal number.
    clamped = Fraction(floor(source.duration * 10**6), 10**6)
    logger.warning("%s: end clamped to %s", span, format_timecode(clamped))
    return Span(span.start, clamped)


def make_segment(
    plan: SegmentPlan, objects: ObjectStore, machine: Machine, *, force: bool = False
) -> int:
    """Makes and stores the segment unless it exists with the same fingerprint; returns its size.

    Raises the errors of `fetch_window`, `smart_cut` and `ObjectStore`.
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
    with work_folder(machine.scratch, _disk_space(plan)) as scratch:
        path, window_path = scratch / "segment.mp4", scratch / "window.nut"
        source = open_source(plan.head, objects)
        with portion(0, _FETCHED_SHARE):
            window = fetch_window(source, plan.source, plan.span, window_path)
        with encoder_slot(machine), portion(_FETCHED_SHARE, 1):
            made = smart_cut(window, plan.source, plan.target, path, machine)
        metadata = video_metadata(
            plan.span.duration, plan.target.resolution, 1, plan.head.etag, plan.fingerprint
        )
        metadata["cut-way"] = made.label
        objects.upload(path, plan.key, metadata, tags=TAGS)
        # The label of an encoded segment also has the reason, which the metric omits.
        work.cut_way = made.label.partition(":")[0]
        work.bytes_written = path.stat().st_size
        # libavformat reads a playlist's chunks itself, so the bytes read are not counted; the size
        # of the window is a lower bound.
        work.bytes_read = work.bytes_read or window_path.stat().st_size


def _disk_space(plan: SegmentPlan) -> int:
    """The bytes of disk space for the window, and twice for the output: its parts and the whole."""
    duration, target = plan.span.duration, plan.target
    encoded = encoded_bytes(target.width * target.height, duration)
    return window_bytes(plan.head.size, plan.source.duration, duration) + 2 * encoded
