"""Writing MP4s from existing packets: one segment from several files, one clip from its segments.

The start of each segment is the exact sum of the durations before it, as a fraction. The times of
its frames and of its first sample are computed from that start, so rounding errors do not add up.
"""

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
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from clipflow.domain.errors import MediaInterruptedError, MediaRefusedError
from clipflow.media import h264
from clipflow.media.encode import TIMESCALE
from clipflow.media.h264 import NalType, length_size
from clipflow.media.isolation import isolated
from clipflow.media.window import video_packets


@dataclass(frozen=True)
class PacketRun:
    """Packets of the file at `path`, in decode order from number `first` on.

    `shown` holds the presentation time of each, in units of TIMESCALE from the segment's start.
    """

    path: Path
    first: int
    shown: tuple[int, ...]


def to_ticks(time: Fraction) -> int:
    """Seconds in units of TIMESCALE."""
    return round(time * TIMESCALE)


def encoded_run(path: Path, frames: Sequence[Fraction]) -> PacketRun:
    """All packets of an encoded file; its frames, in order, are shown at `frames` seconds.

    Raises MediaRefusedError if their numbers differ.
    """
    with av.open(str(path)) as container:
        found = [packet.pts or 0 for packet in video_packets(container)]
    if len(found) != len(frames):
        raise MediaRefusedError(f"{len(found)} of {len(frames)} frames could be decoded.")
    # An edit list rounds the times in the file, but keeps their order.
    exact = dict(zip(sorted(found), map(to_ticks, frames), strict=True))
    return PacketRun(path, 0, tuple(exact[pts] for pts in found))


def write_segment(
    runs: Sequence[PacketRun], like: Path, header: bytes, audio: Path, end: int, path: Path
) -> None:
    """Write an MP4 at `path` with the packets of all `runs` and the audio of the file `audio`.

    The span ends at `end` units of TIMESCALE. `like` is a file that clipflow encoded in the same
    size and colour; `header` is the avcC to write.
    """
    with av.open(str(like)) as model, av.open(str(audio)) as audio_file:
        rate = audio_file.streams.audio[0].rate
        options = {
            "strict": "experimental",
            "movie_timescale": str(rate),
            "video_track_timescale": str(TIMESCALE),
        }
        with av.open(str(path), "w", format="mp4", options=options) as output:
            picture = output.add_stream_from_template(model.streams.video[0])
            picture.codec_context.extradata = header
            copy = output.add_stream_from_template(audio_file.streams.audio[0])
            shown = [pts for run in runs for pts in run.shown]
            packets = with_timestamps(
                _copied_packets(runs), shown, _end_of_last_frame(shown, end), picture
            )
            # Interleaved by time, because the muxer would otherwise buffer one stream's packets
            # while it waits for the other's.
            for packet in merge(packets, _audio_to(audio_file, copy), key=_decoding_time):
                output.mux(packet)


def _end_of_last_frame(shown: Sequence[int], end: int) -> int:
    """The end of the last frame, which is at least as long as the shortest other frame.

    Players derive the frame rate from the shortest frame.
    """
    ordered = sorted(shown)
    gaps = [later - early for early, later in pairwise(ordered)]
    return max(end, ordered[-1] + min(gaps, default=0))


def with_timestamps(
    packets: Iterable[Packet[Any]], shown: Sequence[int], end: int, stream: Stream
) -> Iterator[Packet[Any]]:
    """The packets, in decode order, with the times in `shown` and increasing decoding times.

    All times are in units of TIMESCALE; `end` is the end of the last frame.
    """
    ordered = [*sorted(shown), end]
    number = {pts: place for place, pts in enumerate(ordered)}
    # A frame must be decoded before it is shown, so decoding times are those of earlier frames, by
    # the longest reordering. Were all times set back alike, a pause between frames would be the
    # longest, and libavformat would read the first frame at zero.
    most = max(place - number[pts] for place, pts in enumerate(shown))
    step = min(later - early for early, later in pairwise(ordered))
    decoded = [*(ordered[0] - step * place for place in range(most, 0, -1)), *ordered]
    for place, (pts, packet) in enumerate(zip(shown, packets, strict=True)):
        packet.time_base = Fraction(1, TIMESCALE)
        packet.pts, packet.dts = pts, decoded[place]
        packet.duration = ordered[number[pts] + 1] - pts
        if place == len(shown) - 1:
            # The muxer takes the duration of the track from the packet that is decoded last.
            packet.duration = min(end - step * most - decoded[place], end - pts)
        packet.stream = stream
        yield packet


def _copied_packets(runs: Sequence[PacketRun]) -> Iterator[Packet[Any]]:
    for run in runs:
        with av.open(str(run.path)) as container:
            header = container.streams.video[0].codec_context.extradata or b""
            size = length_size(header)
            for packet in islice(video_packets(container), run.first, run.first + len(run.shown)):
                yield packet if size == h264.LENGTH_SIZE else _as_mp4_packet(packet, size)


def _as_mp4_packet(packet: Packet[Any], size: int) -> Packet[Any]:
    """The packet in MP4 form: length-prefixed, and without parameter sets, which the header has."""
    units = h264.nal_units(bytes(packet), size)
    slices = (unit for unit in units if h264.nal_type(unit) not in (NalType.SPS, NalType.PPS))
    copy: Packet[Any] = Packet(h264.length_prefixed(slices))
    copy.is_keyframe = packet.is_keyframe
    return copy


def _audio_to(container: av.container.InputContainer, stream: Stream) -> Iterator[Packet[Any]]:
    packets: Iterator[Packet[Any]] = container.demux(container.streams.audio[0])
    for packet in packets:
        if packet.pts is not None:
            packet.stream = stream
            yield packet


def _decoding_time(packet: Packet[Any]) -> Fraction:
    return (packet.dts or 0) * packet.time_base


_BITS_PER_CHANNEL = 96_000


@dataclass(frozen=True)
class SegmentFile:
    """A segment file and its exact length in seconds."""

    path: Path
    duration: Fraction


@dataclass(frozen=True)
class StitchResult:
    """The duration of a stitched clip in seconds, and its resolution as `WIDTHxHEIGHT`."""

    duration: Fraction
    resolution: str


def stitch(pieces: Sequence[SegmentFile], path: Path) -> StitchResult:
    """Join `pieces`, in order, into an MP4 at `path`: H.264 copied, AAC, faststart.

    Raises MediaRefusedError if the segments differ in format, and the errors of `isolated`.
    """
    return isolated("a segment of the clip", _stitched, pieces, path)


def _stitched(pieces: Sequence[SegmentFile], path: Path) -> StitchResult:
    starts = _start_times(pieces)
    _check_same_format(pieces)
    with _open_segment(pieces[0]) as first:
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


def _open_segment(piece: SegmentFile) -> InputContainer:
    # Always opened as MP4: a playlist in its place could refer to other files.
    return av.open(str(piece.path), "r", format="mp4")


def _start_times(pieces: Sequence[SegmentFile]) -> list[Fraction]:
    """The start of each piece, followed by the end of the last one, in seconds."""
    starts = [Fraction(0)]
    for piece in pieces:
        starts.append(starts[-1] + piece.duration)
    return starts


def _check_same_format(pieces: Sequence[SegmentFile]) -> None:
    formats = set()
    for piece in pieces:
        with _open_segment(piece) as container:
            if not container.streams.video or not container.streams.audio:
                raise MediaRefusedError(
                    f"{piece.path.name} is not a segment.", "Start the clip with `force`."
                )
            video, audio = container.streams.video[0], container.streams.audio[0]
            formats.add((video.codec_context.extradata, audio.rate, audio.layout.name))
    if len(formats) > 1:
        raise MediaRefusedError(
            "The segments do not share one output format.", "Start the clip with `force`."
        )


def _write(output: OutputContainer, pieces: Sequence[SegmentFile], starts: list[Fraction]) -> None:
    video_packets = _video_packets(output, pieces, starts)
    sounds = _audio_packets(output, pieces, starts)
    # Interleaved by time, because the muxer would otherwise buffer one stream's packets in memory
    # while it waits for the other's.
    for packet in merge(video_packets, sounds, key=lambda p: (p.dts or 0) * p.time_base):
        output.mux(packet)


def _video_packets(
    output: OutputContainer, pieces: Sequence[SegmentFile], starts: list[Fraction]
) -> Iterator[Packet[Any]]:
    """The video packets of all pieces, with times from the start of the clip."""
    shown = [pts for pts, _ in _shifted(pieces, starts)]
    packets = (packet for _, packet in _shifted(pieces, starts))
    return with_timestamps(packets, shown, round(starts[-1] * TIMESCALE), output.streams.video[0])


def _shifted(
    pieces: Sequence[SegmentFile], starts: list[Fraction]
) -> Iterator[tuple[int, Packet[Any]]]:
    """The video packets of all pieces, each after its presentation time in the clip."""
    for piece, start in zip(pieces, starts, strict=False):
        with _open_segment(piece) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.pts is not None:
                    yield packet.pts + round(start * TIMESCALE), packet


def _audio_packets(
    output: OutputContainer, pieces: Sequence[SegmentFile], starts: list[Fraction]
) -> Iterator[Packet[Any]]:
    """The samples of all pieces, concatenated and encoded as one audio stream."""
    stream = output.streams.audio[0]
    position = 0
    for piece, end in zip(pieces, starts[1:], strict=True):
        for frame in _first_samples(piece, round(end * stream.rate) - position):
            frame.pts, frame.time_base = position, Fraction(1, stream.rate)
            position += frame.samples
            yield from stream.encode(frame)
    yield from stream.encode(None)


def _first_samples(piece: SegmentFile, count: int) -> Iterator[AudioFrame]:
    with _open_segment(piece) as container:
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
