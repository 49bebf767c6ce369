"""The times of packets for which libavformat returns none, computed from the others.

libavformat returns no times for the pictures of a Matroska file that are shown before zero. They
may be stored between pictures that are shown after it. It also returns none for a picture of
MPEG-TS whose first bytes are in the packet of the picture before it.
"""

# PyAV's Packet takes a type argument for the type checker only.
from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any, cast

import av
from av.codec import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from clipflow.media.program_stream import MPEG_CODECS, Placing
from clipflow.media.shown_times import MAX_REORDERED, as_shown


def with_times(
    packets: Iterator[Packet[Any]],
    container: InputContainer,
    picture: VideoStream,
    frame_rate: Fraction,
    name: str,
) -> Iterator[Packet[Any]]:
    """All pictures, and the other packets that have times.

    The first pictures get computed times if they have none: they are assumed to be shown before the
    others, at `frame_rate`. A later one of MPEG-TS gets the time at which the picture before it
    ends, unless pictures are reordered: then its time is not known.

    Raises what `as_shown` raises for the source `name`.
    """
    packets = as_shown(packets, container, picture, name)
    if container.format.name in ("mpegts", "hls"):
        packets = _continued(packets, picture)
    context = picture.codec_context
    if container.format.name == "mpeg" and (
        context.name in MPEG_CODECS or not context.has_b_frames
    ):
        duration = round(1 / frame_rate / Fraction(picture.time_base or 1))
        packets = Placing(picture, duration).placed(packets)
    first: list[Packet[Any]] = []
    is_matroska, wanted = "matroska" in container.format.name, 0
    for packet in packets:
        has_time = _has_time(packet)
        if packet.stream_index != picture.index or wanted < 0 or not packet.size:
            if has_time or (packet.stream_index == picture.index and packet.size):
                yield packet
            continue
        first.append(packet)
        if not has_time:
            # Pictures with times follow, until no other can be shown before zero.
            wanted = MAX_REORDERED if is_matroska else 1
        wanted -= has_time
        if wanted <= 0 and has_time:
            yield from _completed(first, picture, frame_rate)
            wanted = -1
    if wanted >= 0:
        yield from _completed(first, picture, frame_rate)


def _completed(
    packets: list[Packet[Any]], picture: VideoStream, frame_rate: Fraction
) -> Iterator[Packet[Any]]:
    timed = [packet for packet in packets if _has_time(packet)]
    untimed = [number for number, packet in enumerate(packets) if not _has_time(packet)]
    if not untimed or not timed:
        yield from timed
        return
    base, length = timed[0].time_base, timed[0].duration
    step = length or round(1 / frame_rate / base)
    zero = min(packet.dts or 0 if packet.pts is None else packet.pts for packet in timed)
    shown = [number for number in _shown_order(packets, picture) if number in untimed]
    for place, number in enumerate(untimed):
        packet = packets[number]
        packet.time_base = base
        packet.pts = zero - step * (len(untimed) - shown.index(number))
        packet.dts = zero - step * (len(untimed) - place)
    yield from packets


def _continued(packets: Iterator[Packet[Any]], picture: VideoStream) -> Iterator[Packet[Any]]:
    end: int | None = None
    is_reordered = bool(picture.codec_context.has_b_frames)
    time_base = Fraction(picture.time_base or 1)
    for packet in packets:
        if packet.stream_index == picture.index and packet.size:
            is_reordered |= packet.pts != packet.dts
            if end is not None and not _has_time(packet) and not is_reordered:
                packet.time_base = time_base
                packet.pts = packet.dts = end
            end = None
            if packet.pts is not None and packet.duration:
                end = packet.pts + packet.duration
        yield packet


def _has_time(packet: Packet[Any]) -> bool:
    return packet.pts is not None or packet.dts is not None


def _shown_order(packets: list[Packet[Any]], picture: VideoStream) -> list[int]:
    """The indices of `packets` in the order in which a decoder shows their pictures."""
    if not packets:
        return []
    decoder = cast(VideoCodecContext, CodecContext.create(picture.codec_context.codec, "r"))
    decoder.extradata = picture.codec_context.extradata
    shown: list[int] = []
    for place, packet in [*enumerate(packets), (0, None)]:
        copy: Packet[Any] | None = None
        if packet is not None:
            copy = Packet(bytes(packet))
            copy.pts = copy.dts = place
        with suppress(av.error.FFmpegError):
            shown += [frame.pts for frame in decoder.decode(copy) if frame.pts is not None]
    # Without a picture, the order does not matter.
    return [*shown, *(place for place in range(len(packets)) if place not in shown)]
