"""Writing MP4s from existing packets: one segment from several files, one clip from its segments.

Where segment k begins is the sum of the spans before it, an exact fraction. Its frames and its
first sample are placed from that one number, so rounding never adds up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from clipflow.domain.errors import MediaInterruptedError, MediaRefusedError
from clipflow.media import h264
from clipflow.media.encode import TIMESCALE
from clipflow.media.h264 import NalType, length_size
from clipflow.media.source import source_errors
from clipflow.media.window import video_packets

# PyAV's Packet takes a type argument for the type checker only.


@dataclass(frozen=True)
class PacketRun:
    """Packets of the file at `path`, in decode order from number `first` on.

    `shown` tells for each when it is shown, in units of TIMESCALE from the segment's start.
    """

    path: Path
    first: int
    shown: tuple[int, ...]


def to_ticks(time: Fraction) -> int:
    """Seconds in units of TIMESCALE."""
    return round(time * TIMESCALE)


def encoded_run(path: Path, frames: Sequence[Fraction]) -> PacketRun:
    """All packets of a file of ours; its frames, in order, are those at `frames` seconds.

    Raises MediaRefusedError where they are not as many.
    """
    with av.open(str(path)) as container:
        found = [packet.pts or 0 for packet in video_packets(container)]
    if len(found) != len(frames):
        raise MediaRefusedError(f"{len(found)} of {len(frames)} frames could be decoded.")
    # An edit list rounds times, but not their order.
    exact = dict(zip(sorted(found), map(to_ticks, frames), strict=True))
    return PacketRun(path, 0, tuple(exact[pts] for pts in found))


def write_segment(
    runs: Sequence[PacketRun], like: Path, header: bytes, sound: Path, end: int, path: Path
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
            packets = with_timestamps(_copied_packets(runs), shown, _over(shown, end), picture)
            # In step, or the muxer would hold one stream's packets while the other's come.
            for packet in merge(packets, _moved(heard, copy), key=_when):
                output.mux(packet)


def _over(shown: Sequence[int], end: int) -> int:
    """When the last frame is over: no frame is shorter than all others, as players count by it."""
    ordered = sorted(shown)
    gaps = [later - early for early, later in pairwise(ordered)]
    return max(end, ordered[-1] + min(gaps, default=0))


def with_timestamps(
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


def _copied_packets(runs: Sequence[PacketRun]) -> Iterator[Packet[Any]]:
    for run in runs:
        with av.open(str(run.path)) as container:
            header = container.streams.video[0].codec_context.extradata or b""
            size = length_size(header)
            for packet in islice(video_packets(container), run.first, run.first + len(run.shown)):
                yield packet if size == h264.LENGTH_SIZE else _rewritten(packet, size)


def _rewritten(packet: Packet[Any], size: int) -> Packet[Any]:
    """The same picture as in an MP4, whose parameter sets are in the header only."""
    units = h264.nal_units(bytes(packet), size)
    kept = (unit for unit in units if h264.nal_type(unit) not in (NalType.SPS, NalType.PPS))
    copy: Packet[Any] = Packet(h264.length_prefixed(kept))
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


# PyAV's Packet takes a type argument for the type checker only.


_BITS_PER_CHANNEL = 96_000


@dataclass(frozen=True)
class SegmentFile:
    """A segment file and its exact length in seconds."""

    path: Path
    duration: Fraction


@dataclass(frozen=True)
class StitchResult:
    """What a stitch made: seconds, `WIDTHxHEIGHT`."""

    duration: Fraction
    resolution: str


def stitch(pieces: Sequence[SegmentFile], path: Path) -> StitchResult:
    """Join `pieces`, in order, into an MP4 at `path`: H.264 copied, AAC, faststart.

    Raises MediaRefusedError where the segments differ in format, and what `source_errors` raises.
    """
    with source_errors("a segment of the clip"):
        return _stitched(pieces, path)


def _stitched(pieces: Sequence[SegmentFile], path: Path) -> StitchResult:
    starts = _starts(pieces)
    _refuse_mixed_forms(pieces)
    with _opened(pieces[0]) as first:
        video, audio = first.streams.video[0], first.streams.audio[0]
        options = {
            "movflags": "+faststart",
            "movie_timescale": str(audio.rate),
            "video_track_timescale": str(TIMESCALE),
        }
        with av.open(str(path), "w", format="mp4", options=options) as output:
            output.add_stream_from_template(video)
            sound = output.add_stream("aac", rate=audio.rate, layout=audio.layout.name)
            sound.bit_rate = _BITS_PER_CHANNEL * audio.channels
            _write(output, pieces, starts)
        resolution = f"{video.width}x{video.height}"
    return StitchResult(starts[-1], resolution)


def _opened(piece: SegmentFile) -> InputContainer:
    # As what we made, whatever lies there now: a playlist would name other files.
    return av.open(str(piece.path), "r", format="mp4")


def _starts(pieces: Sequence[SegmentFile]) -> list[Fraction]:
    """Where each piece begins, and at last where all end, in seconds."""
    starts = [Fraction(0)]
    for piece in pieces:
        starts.append(starts[-1] + piece.duration)
    return starts


def _refuse_mixed_forms(pieces: Sequence[SegmentFile]) -> None:
    forms = set()
    for piece in pieces:
        with _opened(piece) as container:
            if not container.streams.video or not container.streams.audio:
                raise MediaRefusedError(f"{piece.path.name} is no segment.", "Start with `force`.")
            video, audio = container.streams.video[0], container.streams.audio[0]
            forms.add((video.codec_context.extradata, audio.rate, audio.layout.name))
    if len(forms) > 1:
        raise MediaRefusedError(
            "The segments do not share one output format.", "Start the clip with `force`."
        )


def _write(output: OutputContainer, pieces: Sequence[SegmentFile], starts: list[Fraction]) -> None:
    video_packets = _pictures(output, pieces, starts)
    sounds = _sounds(output, pieces, starts)
    # In step, or the muxer would hold one stream's packets in memory while the other's come.
    for packet in merge(video_packets, sounds, key=lambda p: (p.dts or 0) * p.time_base):
        output.mux(packet)


def _pictures(
    output: OutputContainer, pieces: Sequence[SegmentFile], starts: list[Fraction]
) -> Iterator[Packet[Any]]:
    """Every piece's frames, shifted to where it begins."""
    shown = [pts for pts, _ in _shifted(pieces, starts)]
    packets = (packet for _, packet in _shifted(pieces, starts))
    return with_timestamps(packets, shown, round(starts[-1] * TIMESCALE), output.streams.video[0])


def _shifted(
    pieces: Sequence[SegmentFile], starts: list[Fraction]
) -> Iterator[tuple[int, Packet[Any]]]:
    """Every packet of every piece, with when it is shown in the whole."""
    for piece, start in zip(pieces, starts, strict=False):
        with _opened(piece) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.pts is not None:
                    yield packet.pts + round(start * TIMESCALE), packet


def _sounds(
    output: OutputContainer, pieces: Sequence[SegmentFile], starts: list[Fraction]
) -> Iterator[Packet[Any]]:
    """Every piece's samples, one after the other, encoded as one stream."""
    stream = output.streams.audio[0]
    position = 0
    for piece, end in zip(pieces, starts[1:], strict=True):
        for frame in _first_samples(piece, round(end * stream.rate) - position):
            frame.pts, frame.time_base = position, Fraction(1, stream.rate)
            position += frame.samples
            yield from stream.encode(frame)
    yield from stream.encode(None)


def _first_samples(piece: SegmentFile, count: int) -> Iterator[AudioFrame]:
    with _opened(piece) as container:
        for frame in container.decode(audio=0):
            if frame.samples >= count:
                fifo = AudioFifo()
                frame.pts = None
                fifo.write(frame)
                rest = fifo.read(count)
                if rest:
                    yield rest
                return
            count -= frame.samples
            yield frame
    raise MediaInterruptedError(f"{piece.path.name} is {count} samples short.")
