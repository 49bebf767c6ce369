"""The times at which pictures of AVI and MXF are shown, where libavformat returns others.

AVI stores no times: a chunk is empty while a picture stays. After a seek, libavformat does not
count all of these chunks. H.264 and HEVC in AVI, and in MXF without a complete index, have no times
at which pictures are shown, and libavformat returns times in the order in which they are decoded.
"""

# PyAV's Packet takes a type argument for the type checker only.
from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from typing import Any, cast

import av
from av.codec import CodecContext
from av.codec.context import Flags, Flags2
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from clipflow.domain.errors import MediaRefusedError
from clipflow.media.h264 import FieldPairs

# The codecs that libavformat does not reorder, and the most pictures by which they do.
_REORDERED_CODECS = ("h264", "hevc")
MAX_REORDERED = 16
# Bytes of a chunk's header in AVI: the index has its position, a packet that of its content.
_CHUNK_HEADER = 8
# The position behind all chunks.
_END = -1


def as_shown(
    packets: Iterator[Packet[Any]], container: InputContainer, picture: VideoStream, name: str
) -> Iterator[Packet[Any]]:
    """The same packets; pictures of AVI and MXF have the times at which they are shown.

    Raises MediaRefusedError if these are not known, because pictures of `name` are reordered and
    there are pauses between them, and SkippedPicturesError.
    """
    may_be_reordered = picture.codec_context.name in _REORDERED_CODECS
    match container.format.name:
        case "avi":
            packets = _indexed(packets, picture, name)
            if may_be_reordered:
                return _Reordering(picture, name).shown(packets)
            return _until_next(packets, picture, name)
        case "mxf" if may_be_reordered and picture.codec_context.has_b_frames:
            first = list(islice(packets, 2 * MAX_REORDERED))
            packets = chain(first, packets)
            times = [p.pts for p in first if p.stream_index == picture.index and p.pts is not None]
            # With a complete index, some picture is shown later than the next one.
            if all(before < after for before, after in pairwise(times)):
                return _Reordering(picture, name).shown(packets)
    return packets


class SkippedPicturesError(MediaRefusedError):
    """libavformat skipped pictures after a seek; it does not if it reads from the start."""


def _indexed(
    packets: Iterator[Packet[Any]], picture: VideoStream, name: str
) -> Iterator[Packet[Any]]:
    """The same packets; pictures have the times that their chunks have in the index."""
    times: dict[int, int] = {}
    following: dict[int, int] = {}
    latest: int | None = None
    for packet in packets:
        if not times:
            # libavformat may read the index only when it seeks.
            times = {entry.pos + _CHUNK_HEADER: entry.timestamp for entry in picture.index_entries}
            following = dict(pairwise([*times, _END]))
        if packet.stream_index == picture.index:
            position = _END if packet.pos is None or not packet.size else packet.pos
            if latest is not None and following.get(latest, position) != position:
                raise SkippedPicturesError(
                    f"{name} has pictures in its index that cannot be read.",
                    "Check that the source plays.",
                )
            if packet.dts is not None and position in times:
                late = packet.dts - times[position]
                packet.dts -= late
                packet.pts = None if packet.pts is None else packet.pts - late
                # A source that is read from its start may be damaged before the span.
                is_first = latest is None and position == next(iter(times))
                latest = None if is_first else position
                following = {} if is_first else following
        yield packet


def _until_next(
    packets: Iterator[Packet[Any]], picture: VideoStream, name: str
) -> Iterator[Packet[Any]]:
    """The same packets; a picture that is decoded early is shown when the next such one is decoded.

    libavformat computes the times of pictures in AVI so, but from wrong ones.
    """
    waiting: deque[Packet[Any]] = deque()
    for packet in packets:
        is_early = packet.stream_index == picture.index and packet.pts != packet.dts
        if is_early and packet.dts is not None and waiting:
            waiting[0].pts = packet.dts
            yield from waiting
            waiting.clear()
        if is_early or waiting:
            waiting.append(packet)
        else:
            yield packet
    entries = picture.index_entries
    if waiting and len(entries) and entries[-1].timestamp - entries[0].timestamp >= len(entries):
        # The last such picture may be shown after a pause, as others are.
        raise unknown_times(name)
    yield from waiting


@dataclass
class _Reordering:
    """Gives the nth picture to be shown the nth time, and sets decoding times before that."""

    picture: VideoStream
    name: str
    # The times of the pictures that were read, and the places in which they are shown, by number.
    _times: list[int] = field(default_factory=list)
    _places: dict[int, int] = field(default_factory=dict)
    # The most pictures by which a picture is reordered.
    _reordered: int = 0
    # The highest number of a picture that was decoded.
    _furthest: int = 0
    _has_pause: bool = False
    _is_reordered: bool = False
    # The number of the first pictures that the decoder does not return.
    _lost: int = 0
    # When the latest picture, or its second field, ends.
    _end: int | None = None

    def __post_init__(self) -> None:
        context = self.picture.codec_context
        self._is_reordered = bool(context.has_b_frames)
        is_h264 = context.name == "h264"
        self._fields = FieldPairs(context.extradata or b"") if is_h264 else None
        decoder = cast(VideoCodecContext, CodecContext.create(context.codec, "r"))
        decoder.extradata = context.extradata
        # Otherwise the decoder learns from the first pictures by how many they are reordered, and
        # returns them in the wrong order until then.
        decoder.options = {"strict": "strict", "skip_loop_filter": "all"}
        decoder.thread_count = 1
        # Otherwise it does not return pictures that refer to others before the first packet.
        decoder.flags |= Flags.output_corrupt
        decoder.flags2 |= Flags2.show_all
        self._decoder = decoder

    def shown(self, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        waiting: deque[tuple[Packet[Any], int | None]] = deque()
        for packet in packets:
            number = None
            if packet.stream_index == self.picture.index and packet.size:
                number = self._add(packet)
            waiting.append((packet, number))
            while waiting and self._is_known(waiting[0][1]):
                yield from self._timed(*waiting.popleft())
        self._decode(None)
        while waiting:
            yield from self._timed(*waiting.popleft())

    def _add(self, packet: Packet[Any]) -> int | None:
        """The number of the picture; None for a packet without a time, or with a second field."""
        time = packet.pts if packet.dts is None else packet.dts
        if time is None:
            return None
        self._has_pause |= self._end is not None and time > self._end
        self._end = time + (packet.duration or 1)
        copy = Packet(bytes(packet))
        is_second = self._fields is not None and self._fields.is_second(bytes(packet))
        if not is_second:
            self._times.append(time)
        number = len(self._times) - 1
        copy.pts = copy.dts = number
        self._decode(copy)
        if is_second:
            packet.pts = time
            return None
        return number

    def _decode(self, packet: Packet[Any] | None) -> None:
        with suppress(av.error.FFmpegError):
            for frame in self._decoder.decode(packet):
                if frame.pts is None:
                    continue
                if not self._places:
                    self._reordered = len(self._times) - 1
                # The decoder may lose a picture, which is no reordering.
                self._is_reordered |= frame.pts < self._furthest
                self._furthest = max(self._furthest, frame.pts)
                self._places.setdefault(frame.pts, len(self._places))
                # An encoder may store a pause where a picture is decoded, or where it is shown.
                if self._is_reordered and self._has_pause:
                    raise unknown_times(self.name)

    def _is_known(self, number: int | None) -> bool:
        # A picture that the decoder does not return is damaged.
        is_lost = number is not None and len(self._times) > number + 2 * MAX_REORDERED
        return number is None or number in self._places or is_lost

    def _timed(self, packet: Packet[Any], number: int | None) -> Iterator[Packet[Any]]:
        """The packet with its times; none if it has one of the first pictures, which is lost."""
        if number is not None:
            place, early = self._places.get(number), number - self._reordered
            if place is None and number == self._lost:
                self._lost += 1
                return
            if place is None and self._is_reordered:
                # The pictures after it would be shown too early.
                raise MediaRefusedError(
                    f"{self.name} has a picture that cannot be decoded.", "Re-encode the source."
                )
            shown = number if place is None or not self._is_reordered else place + self._lost
            packet.pts = self._times[shown]
            packet.dts = self._times[max(0, early)] + min(0, early) * (packet.duration or 1)
        yield packet


def unknown_times(name: str) -> MediaRefusedError:
    """The error for a source whose pictures have times that are not known."""
    return MediaRefusedError(
        f"{name} does not store when its pictures are shown.",
        "Convert the recording from which it was made to MP4.",
    )
