"""The times of pictures in program streams.

A packet of a program stream stores one time, although several small pictures may begin in it. It is
that of the first picture whose start code is in the packet (ISO/IEC 13818-1, 2.4.3.7), and
libavformat reads it so. ffmpeg writes that of the first picture whose sequence header is in it,
which may be the next one. After a seek, the first packet may begin within a picture, and
libavformat returns the rest of that picture with the time of the next one.

libavformat computes the times that are not stored of MPEG-1 and MPEG-2, but not those of H.264 and
HEVC. They are computed here if pictures are not reordered.
"""

# PyAV's Packet takes a type argument for the type checker only.
from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from av.packet import Packet
from av.video.stream import VideoStream

MPEG_CODECS = ("mpeg1video", "mpeg2video")
_PICTURE_START = b"\0\0\1\0"
# The picture_coding_type of a picture that is shown when it is decoded (ISO/IEC 13818-2, 6.3.9).
_B_PICTURE = 3
# Stored times that are read ahead. Only if all of them are wrong, a wrong one is not noticed.
_AHEAD = 4


@dataclass
class _Picture:
    """A picture, when it is decoded and for how long it is shown, in units of its time base.

    `dts` and `pts` are stored or computed by libavformat. `time` is the result for `dts`, and
    `latest` is its bound.
    """

    packet: Packet[Any]
    dts: int
    pts: int | None
    is_stored: bool
    duration: int
    is_reference: bool
    latest: int | None = None
    time: int = 0


@dataclass
class Placing:
    """Gives each picture of `stream` the latest time that no later stored one contradicts.

    A stored time is that of its picture or of the next one. A picture without one follows the
    picture before it, and is shown for `duration` if libavformat returns no other duration.
    """

    stream: VideoStream
    duration: int
    _waiting: deque[Packet[Any] | _Picture] = field(default_factory=deque)
    # The rest of a picture, which has the times of the next one.
    _rest: Packet[Any] | None = None
    # When the picture ends that was returned last.
    _end: int | None = None
    _is_reordered: bool = False

    def placed(self, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        """The same packets; the rest of a picture at the start is left out."""
        is_mpeg = self.stream.codec_context.name in MPEG_CODECS
        self._is_reordered = bool(self.stream.codec_context.has_b_frames)
        has_begun = False
        for packet in packets:
            is_timed = packet.dts is not None or (has_begun and not is_mpeg and packet.size > 0)
            if packet.stream_index != self.stream.index or not is_timed:
                self._waiting.append(packet)
                continue
            kind = _coding_type(bytes(packet)) if is_mpeg else 0
            if not has_begun and kind is None:
                self._rest = packet
                continue
            has_begun = True
            self._is_reordered |= packet.pts != packet.dts
            self._add(packet, is_reference=kind != _B_PICTURE)
            yield from self._known()
        self._place()
        while self._waiting:
            yield self._next()

    def _add(self, packet: Packet[Any], *, is_reference: bool) -> None:
        timed, duration = packet, packet.duration or self.duration
        if self._rest is not None and packet.pos is None:
            timed = self._rest
        self._rest = None
        is_stored = timed.pos is not None and timed.dts is not None
        one = _Picture(packet, timed.dts or 0, timed.pts, is_stored, duration, is_reference)
        self._waiting.append(one)

    def _known(self) -> Iterator[Packet[Any]]:
        """The packets up to the second stored time, if enough pictures follow."""
        pictures = self._pictures()
        stored = [number for number, one in enumerate(pictures) if one.is_stored]
        if len(stored) <= _AHEAD or not any(one.is_reference for one in pictures[stored[1] :]):
            return
        self._place()
        second = pictures[stored[1]]
        while self._waiting[0] is not second:
            yield self._next()

    def _pictures(self) -> list[_Picture]:
        return [one for one in self._waiting if isinstance(one, _Picture)]

    def _place(self) -> None:
        pictures, latest = self._pictures(), None
        for one in reversed(pictures):
            latest = None if latest is None else latest - one.duration
            if one.is_stored:
                latest = _corrected(one.dts, latest, one.duration)
            one.latest = latest
        end = self._end
        for one in pictures:
            if one.is_stored or end is None:
                one.time = one.dts if one.latest is None else one.latest
            else:
                one.time = _corrected(end, one.latest, one.duration)
            end = one.time + one.duration

    def _next(self) -> Packet[Any]:
        one = self._waiting.popleft()
        if not isinstance(one, _Picture):
            return one
        packet, pictures = one.packet, self._pictures()
        if packet.dts is None and self._is_reordered:
            return packet
        self._end = one.time + one.duration
        # A picture to which others refer is shown when the next such one is decoded.
        following = next((other for other in pictures if other.is_reference), None)
        is_right = one.time == one.dts and (following is None or one.pts != following.dts)
        packet.dts, packet.pts = one.time, one.pts if is_right else one.time
        if not is_right and one.is_reference and self._is_reordered:
            last = pictures[-1] if pictures else one
            packet.pts = following.time if following else last.time + last.duration
        return packet


def _coding_type(content: bytes) -> int | None:
    """The picture_coding_type of a picture of MPEG-1 or MPEG-2; None without a picture's header."""
    header = content.find(_PICTURE_START)
    return content[header + 5] >> 3 & 7 if 0 <= header < len(content) - 5 else None


def _corrected(time: int, latest: int | None, duration: int) -> int:
    """The earlier of both times, but `time` if it is later by more than a picture.

    Then the clock goes back: another recording begins.
    """
    return time if latest is None or time - latest > 3 * duration // 2 else min(time, latest)
