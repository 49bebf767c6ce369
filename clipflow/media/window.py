"""A window: the packets of one span, in a local file. `packet_copy.py` writes it.

The video packets are copied unchanged into a NUT file, or into a MOV if NUT does not support the
codec; the audio is decoded to PCM. All timestamps are shifted by the same whole number of seconds,
which makes all of them positive. Later steps read this file only, never the network.
"""

# PyAV's Packet takes a type argument for the type checker only.
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from io import BytesIO
from itertools import groupby, islice
from math import ceil, floor, lcm
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from clipflow.domain.errors import InvalidInputError, MediaRefusedError
from clipflow.domain.timecode import format_timecode
from clipflow.machine import LARGEST_PICTURE
from clipflow.media.h264 import NalType, length_size, nal_type, nal_units
from clipflow.media.probe import (
    Probe,
)
from clipflow.media.soundtrack import RATES


@dataclass(frozen=True)
class Span:
    """`start ≤ t < end`, in seconds from the source's time zero."""

    start: Fraction
    end: Fraction

    @property
    def duration(self) -> Fraction:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{format_timecode(self.start)}-{format_timecode(self.end)}"


@dataclass(frozen=True)
class Window:
    """The file at `path` holds the span at `origin` seconds (exact), after a keyframe before it.

    `frames` are the presentation times of the span's frames, in order, in seconds from its start.
    `is_last` is true if the source has no picture after those in the file. Otherwise, if the
    next packet is a keyframe, the file holds that packet too. `sizes_vary` is true if not all
    pictures in the file have the source's first size, as in recordings of WebRTC.
    """

    path: Path
    span: Span
    origin: Fraction
    frames: tuple[Fraction, ...]
    frames_are_packets: bool
    has_audio: bool
    is_last: bool = False
    sizes_vary: bool = False


def distinct_times(times: Sequence[Fraction], end: Fraction) -> tuple[Fraction, ...]:
    """The sorted times, of which equal ones are spread evenly up to the next one, or to `end`.

    Some muxers give two pictures the same time, for example at the border of two chunks. Both
    pictures are kept, and an MP4 needs times that increase.
    """
    found: list[Fraction] = []
    for time, group in groupby(times):
        count = len(list(group))
        after = next(iter(times[len(found) + count :]), end)
        found += [time + (after - time) * place / count for place in range(count)]
    return tuple(found)


# Seconds. Few frames are decoded earlier than this before they are shown.
REORDERING = Fraction(2)
# Seconds. If the first frame of a span comes later, the picture shown at the span's start is added.
_MAX_FIRST_FRAME_DELAY = Fraction(1, 4)
# Seconds. A shorter span without a frame of its own lies between two frames and is invalid.
_SHORTEST_HOLD = Fraction(1, 25)


def starting_with_picture(window: Window, name: str) -> Window:
    """The same window, whose first frame is one that is shown at the span's start.

    A picture is shown until the next one. A screen recording, for example, has frames only when the
    screen changes. If the span's first frame is late, the frame before it is moved to the span's
    start; if there is none, the source's first frame is moved, also from behind the span.

    Raises InvalidInputError if no frame is shown in the span, or for less than a frame lasts.
    """
    if window.frames and window.frames[0] <= _MAX_FIRST_FRAME_DELAY:
        return window
    with av.open(str(window.path)) as container:
        packets = video_packets(container)
        times = [Fraction((packet.pts or 0) * packet.time_base) for packet in packets]
    before = [time for time in times if time < window.origin]
    is_held = times and window.span.duration >= _SHORTEST_HOLD
    if not is_held and not window.frames:
        raise InvalidInputError(f"{name}: no frame lies in {window.span}.")
    # Without a frame before the span or in it, the span is before the source's first frame.
    shown = max(before) if before else min(times)
    moved = window.path.with_suffix(".moved")
    start = _move_frame(window.path, moved, times, shown, window.origin, name)
    moved.replace(window.path)
    rest = window.frames if before else window.frames[1:]
    return replace(window, frames=(start - window.origin, *rest))


def _move_frame(
    path: Path, moved: Path, times: Sequence[Fraction], shown: Fraction, target: Fraction, name: str
) -> Fraction:
    """Copies the window at `path` to `moved`, with the frame at `shown` seconds moved to `target`.

    `times` are those of all its frames. Returns the frame's exact time, which is at most one unit
    of the stream's time base later.
    """
    start, earliest = target, min(*times, target)
    with av.open(str(path)) as given:
        picture = given.streams.video[0]
        with open_output(moved, picture, name) as output:
            copies = {
                stream.index: output.add_stream_from_template(stream, opaque=stream is picture)
                for stream in given.streams
            }
            number = -len(times)
            for packet in given.demux():
                if packet.pts is None:
                    continue
                if packet.stream_index == picture.index:
                    if output.format.name == "nut":
                        # NUT stores no decoding times, and libavformat may derive some that are
                        # later than the presentation.
                        packet.dts = floor(earliest / packet.time_base) + number
                        number += 1
                    elif shown > target and packet.dts is not None:
                        # A frame must be decoded before it is shown, even if that is now earlier.
                        packet.dts -= ceil((shown - target) / packet.time_base)
                    if packet.pts * packet.time_base == shown:
                        packet.pts = ceil(target / packet.time_base)
                        start = packet.pts * packet.time_base
                packet.stream = copies[packet.stream_index]
                output.mux(packet)
    return start


# Codecs whose keyframes may be recovery points, after which a decoder still lacks some frames.
_REFRESHED_CODECS = ("h264", "hevc")


def is_decodable(window: Window) -> bool:
    """Whether the first frame of the span can be decoded from the beginning of the window.

    With intra refresh there are no complete keyframes. The decoder outputs no picture until all
    parts have been refreshed, which may be seconds after the packet flagged as a keyframe.
    """
    with av.open(str(window.path)) as container:
        picture = container.streams.video[0]
        context = picture.codec_context
        if context.name not in _REFRESHED_CODECS:
            return True
        context.options = {"skip_loop_filter": "all", "max_pixels": str(LARGEST_PICTURE)}
        size = length_size(context.extradata or b"")
        is_first = context.name == "h264"
        for packet in container.demux(picture):
            if is_first and _is_idr(packet, size):
                return True
            is_first = False
            # Damage is reported when the frames are counted.
            with suppress(av.error.FFmpegError):
                for frame in packet.decode():
                    if frame.pts is not None and frame.time_base is not None:
                        time = frame.pts * frame.time_base
                        return time <= window.origin + window.frames[0]
    return False


def _is_idr(packet: Packet[Any], size: int) -> bool:
    with suppress(ValueError):
        return any(nal_type(unit) == NalType.IDR_SLICE for unit in nal_units(bytes(packet), size))
    return False


# Codecs in which the size of pictures may change, and those in which it may change between
# keyframes.
_RESIZED_CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "libvpx")
_RESIZED_BETWEEN_KEYFRAMES = ("vp9", "av1", "libdav1d", "libvpx-vp9")
# The most keyframes that are decoded. Sources of keyframes only do not come from browsers.
_MAX_KEYFRAMES = 300


def sizes_vary(window: Window, probe: Probe) -> bool:
    """Whether a picture in the window has a different size than the source's first one."""
    with av.open(str(window.path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        if not context.name.startswith(_RESIZED_CODECS) or probe.coded_size is None:
            return False
        only_keyframes = context.name not in _RESIZED_BETWEEN_KEYFRAMES
        if only_keyframes:
            context.skip_frame = "NONKEY"
        context.thread_type = "AUTO"
        decoded = 0
        for packet in container.demux(stream):
            try:
                frames = context.decode(packet)
            except av.error.FFmpegError:
                continue
            if any((frame.width, frame.height) != probe.coded_size for frame in frames):
                return True
            decoded += len(frames)
            if only_keyframes and decoded > _MAX_KEYFRAMES:
                return False
    return False


def video_packets(container: av.container.InputContainer) -> Iterator[Packet[Any]]:
    """The packets of a window's or a segment's picture, in decode order."""
    # ffmpeg writes no video track to an MP4 if it encoded no frame.
    for stream in container.streams.video[:1]:
        yield from (packet for packet in container.demux(stream) if packet.pts is not None)


def sub_window(
    window: Window, first: int, last: int | None, frames: tuple[Fraction, ...], path: Path
) -> Window:
    """A window at `path` that holds only the video packets `first ≤ n < last` of `window`."""
    with av.open(str(window.path)) as container, av.open(str(path), "w", format="nut") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for packet in islice(video_packets(container), first, last):
            packet.stream = stream
            output.mux(packet)
    return replace(window, path=path, frames=frames, has_audio=False)


def open_output(path: Path, picture: VideoStream, name: str) -> OutputContainer:
    """Open a new file at `path` in a container format that supports the codec of `picture`.

    Raises MediaRefusedError if no format does.
    """
    codec = picture.codec_context.codec.name
    if codec in _supported_codecs("nut"):
        return av.open(str(path), "w", format="nut")
    if codec not in _supported_codecs("mov"):
        raise MediaRefusedError(
            f"{name}: its picture is {codec}, which cannot be cut.", "Re-encode it as H.264."
        )
    # A MOV stores the start of a stream in units of the movie timescale; with this timescale no
    # start is rounded.
    unit = lcm(Fraction(picture.time_base or 1).denominator, *RATES)
    return av.open(str(path), "w", format="mov", options={"movie_timescale": str(unit)})


@cache
def _supported_codecs(target: str) -> frozenset[str]:
    with av.open(BytesIO(), "w", format=target) as output:
        return frozenset(output.supported_codecs)
