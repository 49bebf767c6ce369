"""Opening a source for reading: one object read by range, a local file, or an HLS playlist."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any, Protocol

import av
from av.container import InputContainer
from av.index import IndexEntry
from av.stream import Stream

from clipflow.media.hls import Playlist
from clipflow.media.ranges import BUFFER, ByteRange, Fetch, RangeFile
from clipflow.media.source_errors import TIMEOUT

logger = logging.getLogger(__name__)

# Seconds by which an index entry may lie past a span: cues are minutes apart in some files.
_MAX_INDEX_ERROR = 10
# Bytes. Ranges with a smaller gap between them are read as one.
_MAX_GAP = 1 << 16


def span_ranges(container: InputContainer, start: Fraction, end: Fraction) -> list[ByteRange]:
    """The merged byte ranges of all streams' packets from a keyframe before `start` to `end`.

    Times are in seconds from the source's first frame, approximately. Empty if the container has
    no usable index.
    """
    picture = reference_stream(container)
    if picture is None or picture.time_base is None:
        return []
    start, end = start + stream_start(picture), end + stream_start(picture)
    if (keyframe := _keyframe_before(picture, start)) is None:
        return []
    begins = min(start, keyframe.timestamp * picture.time_base)
    found = [_extent(stream, begins, end) for stream in container.streams]
    return merge_ranges([extent for extent in found if extent])


def reference_stream(container: InputContainer) -> Stream | None:
    """The stream to seek by: the best video stream, else the best audio stream."""
    return container.streams.best("video") or container.streams.best("audio")


def stream_start(stream: Stream) -> Fraction:
    """The start of a stream, in seconds on the container's clock."""
    return (stream.start_time or 0) * Fraction(stream.time_base or 1)


def _keyframe_before(stream: Stream, time: Fraction) -> IndexEntry | None:
    """The last indexed keyframe at or before `time`, in seconds on the container's clock."""
    entries = stream.index_entries
    found = entries.search_timestamp(int(time / Fraction(stream.time_base or 1)))
    return entries[found] if found >= 0 else None


def byte_rate(container: InputContainer, size: int, time: Fraction) -> Fraction:
    """The approximate bytes a second of a file of `size` bytes; 0 if it is unknown."""
    if container.duration:
        return Fraction(size * av.time_base, container.duration)
    picture = reference_stream(container)
    found = (
        _keyframe_before(picture, stream_start(picture) + time) if picture and time > 0 else None
    )
    return found.pos / time if found else Fraction(0)


def _extent(stream: Stream, start: Fraction, end: Fraction) -> ByteRange | None:
    """The byte range of a stream from `start` to `end`, in seconds on the container's clock."""
    entries, base = stream.index_entries, Fraction(stream.time_base or 1)
    if not len(entries):
        return None
    first = entries[max(0, entries.search_timestamp(int(start / base), any_frame=True))]
    beyond = entries.search_timestamp(ceil(end / base), backward=False, any_frame=True)
    last = entries[beyond if beyond >= 0 else len(entries) - 1]
    if abs(last.timestamp * base - end) > _MAX_INDEX_ERROR or last.pos < first.pos:
        return None
    return ByteRange(first.pos, last.pos + last.size)


def merge_ranges(parts: Sequence[ByteRange]) -> list[ByteRange]:
    """The ranges in order, with ranges that are close to each other merged."""
    whole: list[ByteRange] = []
    for part in sorted(parts):
        if whole and part.start - whole[-1].end <= _MAX_GAP:
            whole[-1] = ByteRange(whole[-1].start, max(whole[-1].end, part.end))
        else:
            whole.append(part)
    return whole


# No protocol is allowed, so that libavformat opens nothing that an object refers to: an object may
# be a playlist under another name.
_NO_PROTOCOLS = {"protocol_whitelist": "none"}
# Bytes that a search in a container may read and cache contiguously. Cues are smaller.
_MAX_SEARCH_BYTES = 1 << 20
# The approximate number of steps in which a span is read without an index.
_STEPS = 8
# Seconds after which the 33-bit clock of a transport stream, at 90 kHz, wraps around.
CLOCK_PERIOD = Fraction(1 << 33, 90_000)
# `file` is not allowed, so that no source or playlist can refer to a file on this machine.
_PROTOCOLS = "http,https,tcp,tls,crypto"
_OPTIONS = {
    "protocol_whitelist": _PROTOCOLS,
    "reconnect": "1",
    "reconnect_on_network_error": "1",
    "reconnect_on_http_error": "5xx",
    "reconnect_delay_max": "4",
}
_HLS_OPTIONS = {
    "allowed_extensions": "ALL",
    "extension_picky": "0",
    "seg_max_retry": "3",
}


class Source(Protocol):
    """Media that can be opened near a time.

    `name` is for messages; `etag` identifies the version of the bytes.
    """

    @property
    def name(self) -> str: ...

    @property
    def etag(self) -> str: ...

    @property
    def seekable(self) -> bool:
        """Whether the caller of `open` must still seek to the start."""

    def open(self, start: Fraction, end: Fraction) -> InputContainer:
        """A container that holds `start ≤ t < end`, in seconds from the source's beginning."""

    def begins(self, start: Fraction, end: Fraction) -> Fraction | None:
        """The approximate start of the opened container in seconds; None for the source's own."""

    def ends(self, end: Fraction) -> bool:
        """Whether the opened container extends to the end of the source."""


# Microseconds of a source that are analyzed if its pictures are so far apart that libavformat's
# default of five seconds does not determine their size.
_LONG_ANALYSIS = 120_000_000


def _analyzed(
    file: RangeFile | str, options: dict[str, str] | None = None, **settings: Any
) -> InputContainer:
    """The opened file, which is analyzed for longer if the size of its picture is not found."""
    given = options or {}
    container: InputContainer = av.open(
        file, "r", options=given, metadata_errors="replace", **settings
    )
    contexts: list[object] = [stream.codec_context for stream in container.streams.video]
    if all(context is None or getattr(context, "width", 1) for context in contexts):
        return container
    container.close()
    if isinstance(file, RangeFile):
        file.seek(0)
    longer = {**given, "analyzeduration": str(_LONG_ANALYSIS)}
    return av.open(  # type: ignore[no-any-return]
        file, "r", options=longer, metadata_errors="replace", **settings
    )


@dataclass(frozen=True)
class FileSource:
    """One self-contained object of `size` bytes: MP4, MOV, MKV, WebM or TS.

    `fetch` reads bytes of the version that `etag` identifies, and raises if it was replaced.
    """

    name: str
    etag: str
    size: int
    fetch: Fetch
    seekable: bool = True

    def open(self, start: Fraction, end: Fraction) -> InputContainer:
        file = RangeFile(self.fetch, self.size, (self.name, self.etag))
        container = _analyzed(file, options=_NO_PROTOCOLS, buffer_size=BUFFER)
        file.cache_limit = _MAX_SEARCH_BYTES
        if start > 0:
            self._search(file, container, start)
        share = (end - start) * byte_rate(container, self.size, start) / _STEPS
        file.expect(span_ranges(container, start, end), int(share))
        return container

    def begins(self, start: Fraction, end: Fraction) -> Fraction | None:
        return None

    def ends(self, end: Fraction) -> bool:
        return True

    def _search(self, file: RangeFile, container: InputContainer, start: Fraction) -> None:
        """Seek to `start`, because libavformat reads some indexes only when it seeks.

        The caller's own seek is then served from the cache.
        """
        stream, before = reference_stream(container), file.run.end
        if stream is None or stream.time_base is None:
            return
        # Some transport streams cannot be searched by a stream whose packets are far apart.
        with suppress(av.error.PermissionError):
            container.seek(int((stream_start(stream) + start) / stream.time_base), stream=stream)
        begun, reached = file.run
        if begun <= _MAX_SEARCH_BYTES < reached - max(begun, before):
            logger.warning("%s has no index, so it is read from its start", self.name)


@dataclass(frozen=True)
class LocalSource:
    """A trusted local file."""

    path: Path
    etag: str = ""
    seekable: bool = True

    def __post_init__(self) -> None:
        # The processes that decode may have been forked in another working directory.
        object.__setattr__(self, "path", self.path.absolute())

    @property
    def name(self) -> str:
        return self.path.name

    def open(self, start: Fraction, end: Fraction) -> InputContainer:
        # Without `file:`, libavformat would take text before a colon in the path for a protocol.
        return _analyzed(f"file:{self.path}")

    def begins(self, start: Fraction, end: Fraction) -> Fraction | None:
        return None

    def ends(self, end: Fraction) -> bool:
        return True


@dataclass(frozen=True)
class PlaylistSource:
    """An HLS playlist; `address` gives the URL of each of its URIs."""

    name: str
    etag: str
    playlist: Playlist
    address: Callable[[str], str]
    seekable: bool = False

    def open(self, start: Fraction, end: Fraction) -> InputContainer:
        # Only the chunks around the span are opened: seeking in the whole playlist would depend on
        # how each version of libavformat rounds a chunk's declared duration.
        return self._open(self.playlist.around(start, end))

    def begins(self, start: Fraction, end: Fraction) -> Fraction | None:
        return self.playlist.around(start, end).starts[0]

    def ends(self, end: Fraction) -> bool:
        return self.playlist.around(end, end).chunks[-1] is self.playlist.chunks[-1]

    def at_true_times(self, first: Fraction, times: Sequence[Fraction]) -> "PlaylistSource":
        """The same source, with the chunks around `times` placed by the timestamps in them.

        `first` is the first frame's time on the chunks' own clock, `times` are in seconds from it.
        The durations that a playlist declares may be rounded, so they are only an estimate. Each
        step of the search opens one chunk.
        """
        known_starts = {0: Fraction(0)}
        for time in times:
            self._search(first, time, known_starts)
        return replace(self, playlist=self.playlist.at_times(known_starts))

    def duration(self, first: Fraction) -> Fraction:
        """The seconds from the first frame, at `first` on the chunks' clock, to the end."""
        last = len(self.playlist.chunks) - 1
        times = [first + self.playlist.starts[-1]] if last else [first]
        with self._open(self.playlist.only(last)) as container:
            for packet in container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    time = (packet.pts + (packet.duration or 0)) * packet.time_base
                    times.append(unwrapped(time, times[0]))
        return max(times[1:], default=first + self.playlist.duration) - first

    def _search(self, first: Fraction, time: Fraction, known_starts: dict[int, Fraction]) -> None:
        """Add the starts of the chunk that holds `time` and of the next one to `known_starts`."""
        low, high, steps = 0, len(self.playlist.chunks), 0
        ends = self.playlist.duration
        while high - low > 1:
            begins = known_starts[low]
            share = (time - begins) / (ends - begins) if ends > begins else Fraction(1, 2)
            # Interpolation alone is slow if the chunks' durations differ much, so every third step
            # bisects.
            share, steps = (share if steps % 3 < 2 else Fraction(1, 2)), steps + 1
            guess = min(max(low + int(share * (high - low)), low + 1), high - 1)
            if guess not in known_starts:
                known_starts[guess] = self._start(guess, first)
            if known_starts[guess] <= time:
                low = guess
            else:
                high, ends = guess, known_starts[guess]

    def _start(self, number: int, first: Fraction) -> Fraction:
        """The time of the chunk's first picture, in seconds from the source's first frame."""
        declared = self.playlist.starts[number]
        with self._open(self.playlist.only(number)) as container:
            stream = reference_stream(container)
            for packet in container.demux(stream) if stream else ():
                if packet.pts is not None and packet.time_base is not None:
                    time = packet.pts * packet.time_base
                    return unwrapped(time, first + declared) - first
        return declared

    def _open(self, playlist: Playlist) -> InputContainer:
        text = playlist.text(self.address)
        return av.open(
            BytesIO(text.encode()),
            "r",
            format="hls",
            metadata_errors="replace",
            options={**_OPTIONS, **_HLS_OPTIONS},
            timeout=TIMEOUT,
        )


def unwrapped(time: Fraction, near: Fraction) -> Fraction:
    """The time nearest to `near` that a transport stream's clock shows as `time`.

    That clock wraps around every 26.5 hours. All times are in seconds.
    """
    return time + round((near - time) / CLOCK_PERIOD) * CLOCK_PERIOD
