"""Joining segments: the picture copied packet by packet, the sound encoded once, no drift.

Where segment k begins is the sum of the spans before it, an exact fraction. Its frames and its
first sample are placed from that one number, so rounding never adds up.
"""

# PyAV's Packet takes a type argument for the type checker only.
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from pathlib import Path
from typing import Any

import av
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from clipflow.domain.errors import MediaInterruptedError, MediaRefusedError
from clipflow.media.cut import TIMESCALE
from clipflow.media.source import reading
from clipflow.media.track import placed

_BITS_PER_CHANNEL = 96_000


@dataclass(frozen=True)
class Piece:
    """A segment file and its exact length in seconds."""

    path: Path
    duration: Fraction


@dataclass(frozen=True)
class Stitched:
    """What a stitch made: seconds, `WIDTHxHEIGHT`."""

    duration: Fraction
    resolution: str


def stitch(pieces: Sequence[Piece], path: Path) -> Stitched:
    """Join `pieces`, in order, into an MP4 at `path`: H.264 copied, AAC, faststart.

    Raises MediaRefusedError where the pieces do not share one form, and what `reading` raises.
    """
    with reading("a segment of the clip"):
        return _stitched(pieces, path)


def _stitched(pieces: Sequence[Piece], path: Path) -> Stitched:
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
    return Stitched(starts[-1], resolution)


def _opened(piece: Piece) -> InputContainer:
    # As what we made, whatever lies there now: a playlist would name other files.
    return av.open(str(piece.path), "r", format="mp4")


def _starts(pieces: Sequence[Piece]) -> list[Fraction]:
    """Where each piece begins, and at last where all end, in seconds."""
    starts = [Fraction(0)]
    for piece in pieces:
        starts.append(starts[-1] + piece.duration)
    return starts


def _refuse_mixed_forms(pieces: Sequence[Piece]) -> None:
    forms = set()
    for piece in pieces:
        with _opened(piece) as container:
            if not container.streams.video or not container.streams.audio:
                raise MediaRefusedError(f"{piece.path.name} is no segment.", "Start with `force`.")
            video, audio = container.streams.video[0], container.streams.audio[0]
            forms.add((video.codec_context.extradata, audio.rate, audio.layout.name))
    if len(forms) > 1:
        raise MediaRefusedError(
            "The segments do not share one form.", "Start the clip with `force`."
        )


def _write(output: OutputContainer, pieces: Sequence[Piece], starts: list[Fraction]) -> None:
    pictures = _pictures(output, pieces, starts)
    sounds = _sounds(output, pieces, starts)
    # In step, or the muxer would hold one stream's packets in memory while the other's come.
    for packet in merge(pictures, sounds, key=lambda p: (p.dts or 0) * p.time_base):
        output.mux(packet)


def _pictures(
    output: OutputContainer, pieces: Sequence[Piece], starts: list[Fraction]
) -> Iterator[Packet[Any]]:
    """Every piece's frames, shifted to where it begins."""
    shown = [pts for pts, _ in _shifted(pieces, starts)]
    packets = (packet for _, packet in _shifted(pieces, starts))
    return placed(packets, shown, round(starts[-1] * TIMESCALE), output.streams.video[0])


def _shifted(pieces: Sequence[Piece], starts: list[Fraction]) -> Iterator[tuple[int, Packet[Any]]]:
    """Every packet of every piece, with when it is shown in the whole."""
    for piece, start in zip(pieces, starts, strict=False):
        with _opened(piece) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.pts is not None:
                    yield packet.pts + round(start * TIMESCALE), packet


def _sounds(
    output: OutputContainer, pieces: Sequence[Piece], starts: list[Fraction]
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


def _first_samples(piece: Piece, count: int) -> Iterator[AudioFrame]:
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
