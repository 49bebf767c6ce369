"""A track of H.264 made of packets from several files, under one header."""

# PyAV's Packet takes a type argument for the type checker only.
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
from av.packet import Packet
from av.stream import Stream

from clipflow.domain.errors import MediaRefusedError
from clipflow.media import nal
from clipflow.media.cut import TIMESCALE
from clipflow.media.window import pictures
from clipflow.media.nal import Unit
from clipflow.media.parameter_sets import length_size


@dataclass(frozen=True)
class Run:
    """Packets of the file at `path`, in decode order from number `first` on.

    `shown` tells for each when it is shown, in units of TIMESCALE from the segment's start.
    """

    path: Path
    first: int
    shown: tuple[int, ...]


def ticks(time: Fraction) -> int:
    """Seconds in units of TIMESCALE."""
    return round(time * TIMESCALE)


def encoded(path: Path, frames: Sequence[Fraction]) -> Run:
    """All packets of a file of ours; its frames, in order, are those at `frames` seconds.

    Raises MediaRefusedError where they are not as many.
    """
    with av.open(str(path)) as container:
        found = [packet.pts or 0 for packet in pictures(container)]
    if len(found) != len(frames):
        raise MediaRefusedError(f"{len(found)} of {len(frames)} frames could be decoded.")
    # An edit list rounds times, but not their order.
    exact = dict(zip(sorted(found), map(ticks, frames), strict=True))
    return Run(path, 0, tuple(exact[pts] for pts in found))


def write(
    runs: Sequence[Run], like: Path, header: bytes, sound: Path, end: int, path: Path
) -> None:
    """An MP4 of all `runs` and of the sound in `sound`, copied; its span ends at `end` units.

    `like` is a segment of ours, with the picture's size and colour; `header` the avcC.
    """
    with av.open(str(like)) as model, av.open(str(sound)) as heard:
        rate = heard.streams.audio[0].rate
        options = {
            "strict": "experimental",
            "movie_timescale": str(rate),
            "video_track_timescale": str(TIMESCALE),
        }
        with av.open(str(path), "w", format="mp4", options=options) as output:
            picture = output.add_stream_from_template(model.streams.video[0])
            picture.codec_context.extradata = header
            copy = output.add_stream_from_template(heard.streams.audio[0])
            shown = [pts for run in runs for pts in run.shown]
            packets = placed(_packets(runs), shown, _over(shown, end), picture)
            # In step, or the muxer would hold one stream's packets while the other's come.
            for packet in merge(packets, _moved(heard, copy), key=_when):
                output.mux(packet)


def _over(shown: Sequence[int], end: int) -> int:
    """When the last frame is over: no frame is shorter than all others, as players count by it."""
    ordered = sorted(shown)
    gaps = [later - early for early, later in pairwise(ordered)]
    return max(end, ordered[-1] + min(gaps, default=0))


def placed(
    packets: Iterable[Packet[Any]], shown: Sequence[int], end: int, stream: Stream
) -> Iterator[Packet[Any]]:
    """The packets, in decode order, with the times in `shown` and decoding times that only grow.

    All are in units of TIMESCALE, also `end`, when the last frame is over.
    """
    ordered = [*sorted(shown), end]
    # A frame must be decoded before it is shown: the longest reordering decides by how much.
    delay = max(early - pts for early, pts in zip(ordered, shown, strict=False))
    for place, (pts, packet) in enumerate(zip(shown, packets, strict=True)):
        packet.time_base = Fraction(1, TIMESCALE)
        packet.pts, packet.dts = pts, ordered[place] - delay
        packet.duration = ordered[place + 1] - ordered[place]
        packet.stream = stream
        yield packet


def _packets(runs: Sequence[Run]) -> Iterator[Packet[Any]]:
    for run in runs:
        with av.open(str(run.path)) as container:
            header = container.streams.video[0].codec_context.extradata or b""
            size = length_size(header)
            for packet in islice(pictures(container), run.first, run.first + len(run.shown)):
                yield packet if size == nal.LENGTH_SIZE else _rewritten(packet, size)


def _rewritten(packet: Packet[Any], size: int) -> Packet[Any]:
    """The same picture as in an MP4, whose parameter sets are in the header only."""
    units = nal.units(bytes(packet), size)
    kept = (unit for unit in units if nal.unit_type(unit) not in (Unit.SPS, Unit.PPS))
    copy: Packet[Any] = Packet(nal.length_prefixed(kept))
    copy.is_keyframe = packet.is_keyframe
    return copy


def _moved(container: av.container.InputContainer, stream: Stream) -> Iterator[Packet[Any]]:
    packets: Iterator[Packet[Any]] = container.demux(container.streams.audio[0])
    for packet in packets:
        if packet.pts is not None:
            packet.stream = stream
            yield packet


def _when(packet: Packet[Any]) -> Fraction:
    return (packet.dts or 0) * packet.time_base
