"""A window: the bytes of one span, fetched once by range and kept on disk while it is worked on.

The picture's packets go into a NUT file as they are, into a MOV what NUT has no name for; the sound
is decoded on the way. All are shifted by the same whole number of seconds, so that nothing is
before zero. From then on nothing reads the network.
"""

# PyAV's Packet takes a type argument for the type checker only.
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from io import BytesIO
from itertools import islice
from math import ceil, lcm
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from clipflow.domain.errors import InvalidInputError, MediaInterruptedError, MediaRefusedError
from clipflow.domain.timecode import format_timecode
from clipflow.media.probe import (
    CLOCK_TOLERANCE,
    Probe,
    audio_stream,
    several_recordings,
    video_stream,
)
from clipflow.media.soundtrack import RATES, Soundtrack
from clipflow.media.source import PlaylistSource, Source, source_errors, unwrapped

# Seconds before the span at which reading begins: enough for an audio decoder to settle (Opus asks
# for 80 ms). Where no keyframe turns up before the span, the next one is tried.
_LEADS = (Fraction(1, 4), Fraction(10), Fraction(60))
# Where a span begins in every window, in seconds; larger than any lead, also from the very start.
ORIGIN = 1_000_000
# A source may end this much before it said it would.
_EARLY_END = Fraction(1)
# Seconds by which a container's streams may lie apart in the file.
_INTERLEAVING = 5
# Formats of which libavformat knows a picture's end only by the beginning of the next.
_HOLDING_BACK = ("mpegts", "mpeg", "hls")
# Seconds of sound before the span: enough for a resampler to settle.
_SETTLING = Fraction(1, 4)


@dataclass(frozen=True)
class Span:
    """`start ≤ t < end`, in seconds from the source's first frame."""

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
    `is_last` says that the source has no picture after those in the file. Else, where the next
    packet is a keyframe, the file holds that too.
    """

    path: Path
    span: Span
    origin: Fraction
    frames: tuple[Fraction, ...]
    frames_are_packets: bool
    has_audio: bool
    is_last: bool = False


def fetch_window(source: Source, probe: Probe, span: Span, path: Path) -> Window:
    """Read `span` of `source` into a window at `path`.

    Raises InvalidInputError where no frame lies in the span, MediaRefusedError where it cannot be
    decoded from any keyframe or no window can hold it, MediaInterruptedError where the source ends
    before the span does.
    """
    start = probe.start + span.start
    for lead in (*_LEADS, start):
        begin = max(Fraction(0), span.start - lead)
        copy = _copied(source, probe, span, path, begin, span.end)
        if isinstance(source, PlaylistSource) and not copy.is_complete:
            # The chunks lie elsewhere than the playlist declares.
            with source_errors(source.name):
                source = source.at_true_times(probe.start, (begin, span.end))
            copy = _copied(source, probe, span, path, begin, span.end)
            if copy.decodable and not copy.is_complete:
                copy = _copied(source, probe, span, path, begin, source.playlist.duration)
        if copy.decodable or begin == 0:
            return copy.window(path)
    raise MediaRefusedError(f"{source.name}: no keyframe before {span}.", "Re-encode the source.")


def _copied(
    source: Source, probe: Probe, span: Span, path: Path, begin: Fraction, end: Fraction
) -> _Copy:
    """One attempt: what the source holds from `begin` to `end`, copied to `path`."""
    with source_errors(source.name), source.open(begin, end) as container:
        if source.seekable and begin > 0:
            _seek(container, probe, begin)
        copy = _Copy(
            probe,
            span,
            video_stream(container, source.name),
            from_start=begin == 0,
            to_end=source.ends(end),
            expected=source.begins(begin, end),
        )
        with _opened(path, copy.picture, source.name) as output:
            copy.run(container, output)
    return copy


def video_packets(container: av.container.InputContainer) -> Iterator[Packet[Any]]:
    """The packets of a window's or a segment's picture, in decode order."""
    # Where nothing was encoded, an MP4 has no stream either.
    for stream in container.streams.video[:1]:
        yield from (packet for packet in container.demux(stream) if packet.pts is not None)


def sub_window(
    window: Window, first: int, last: int | None, frames: tuple[Fraction, ...], path: Path
) -> Window:
    """A window at `path` with no more than the picture's packets `first ≤ n < last`."""
    with av.open(str(window.path)) as container, av.open(str(path), "w", format="nut") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for packet in islice(video_packets(container), first, last):
            packet.stream = stream
            output.mux(packet)
    return replace(window, path=path, frames=frames, has_audio=False)


def _opened(path: Path, picture: VideoStream, name: str) -> OutputContainer:
    """A window to write that holds such a picture.

    Raises MediaRefusedError where there is none.
    """
    codec = picture.codec_context.codec.name
    if codec in _held("nut"):
        return av.open(str(path), "w", format="nut")
    if codec not in _held("mov"):
        raise MediaRefusedError(
            f"{name}: its picture is {codec}, which cannot be cut.", "Re-encode it, as H.264."
        )
    # A MOV says in units of the whole when a stream begins: in these it rounds nothing.
    unit = lcm(Fraction(picture.time_base or 1).denominator, *RATES)
    return av.open(str(path), "w", format="mov", options={"movie_timescale": str(unit)})


@cache
def _held(target: str) -> frozenset[str]:
    with av.open(BytesIO(), "w", format=target) as output:
        return frozenset(output.supported_codecs)


def _seek(container: InputContainer, probe: Probe, begin: Fraction) -> None:
    picture = video_stream(container, probe.name)
    container.seek(int((probe.start + begin) / probe.time_base), stream=picture, backward=True)


def _ends(packet: Packet[Any]) -> Fraction:
    """When what the packet holds is over, in seconds on the container's clock."""
    begins = packet.dts if packet.pts is None else packet.pts
    return Fraction((begins or 0) + (packet.duration or 0)) * packet.time_base


@dataclass
class _Copy:
    """One pass over a container's packets, from before a span to its end."""

    probe: Probe
    span: Span
    picture: VideoStream
    from_start: bool
    # Whether the container goes on to the end of the source.
    to_end: bool
    # When the container begins, about, in seconds from the source's first frame; None where its
    # clock is the source's.
    expected: Fraction | None = None
    decodable: bool = False
    _wanted: list[int] = field(default_factory=list)
    _sound: bool = False
    _exhausted: bool = False
    _done: set[int] = field(default_factory=set)
    _reached: Fraction = Fraction(0)
    _latest_dts: int | None = None
    # Seconds to add to the container's clock where that has started anew; None until known.
    _wrapped: Fraction | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the span is decodable, and nothing of it lies beyond the container's end."""
        return self.decodable and (self.to_end or not self._exhausted)

    def __post_init__(self) -> None:
        base, first = self.probe.time_base, self.probe.first_pts
        self._first = first + ceil(self.span.start / base)
        self._beyond = first + ceil(self.span.end / base)
        # Whole seconds are whole ticks in nearly every time base, so the shift rounds nothing.
        self._shift = ORIGIN - int(self.probe.start + self.span.start)

    def run(self, container: InputContainer, output: OutputContainer) -> None:
        sound = audio_stream(container, self.probe.name) if self.probe.sound else None
        streams = [self.picture, *([sound] if sound else [])]
        # Opaque: a codec that only can be decoded has no encoder to look up.
        copy = output.add_stream_from_template(self.picture, opaque=True)
        # A MOV would keep a display matrix, and ffmpeg would turn the picture by it once more.
        copy.set_display_rotation(0)
        track = self._soundtrack(sound, output) if sound else None
        self._sound = sound is not None
        for packet in self._until_end(container, streams):
            if packet.stream_index == self.picture.index:
                output.mux(self._shifted(packet, copy))
                continue
            for part in track.add(packet) if track else ():
                output.mux(part)
        for part in track.finish() if track else ():
            output.mux(part)

    def _soundtrack(self, sound: AudioStream, output: OutputContainer) -> Soundtrack:
        begin, end = (self.probe.start + time for time in (self.span.start, self.span.end))
        return Soundtrack(self.probe, sound, output, begin - _SETTLING, end, self._shift)

    def _shifted(self, packet: Packet[Any], copy: Stream) -> Packet[Any]:
        shift = round(self._shift / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + shift
        packet.dts = None if packet.dts is None else packet.dts + shift
        packet.stream = copy
        return packet

    def _until_end(self, container: InputContainer, streams: list[Stream]) -> Iterator[Packet[Any]]:
        end = self.probe.start + self.span.end
        holds_back = container.format.name in _HOLDING_BACK
        for packet in container.demux(streams):
            if packet.pts is None and packet.dts is None:
                continue
            self._unwrap(packet)
            if packet.stream_index == self.picture.index:
                self._note(packet)
                if self._is_in_vain(packet):
                    return
                # In decode order nothing with an earlier presentation time can follow.
                late = packet.dts is not None and packet.dts >= self._beyond
            else:
                late = packet.pts is not None and packet.pts * packet.time_base >= end
            self._reached = max(self._reached, _ends(packet))
            if not late:
                yield packet
                continue
            first_late = packet.stream_index not in self._done
            if packet.stream_index == self.picture.index and first_late and packet.is_keyframe:
                yield packet
            self._done.add(packet.stream_index)
            if len(self._done) == len(streams):
                return
            # A stream that stopped long ago has no more packets: the others' time tells the end.
            # But a transport stream's last picture is known to be whole only when the next begins.
            waits_for_picture = holds_back and self.picture.index not in self._done
            if _ends(packet) >= end + _INTERLEAVING and not waits_for_picture:
                return
        self._exhausted = True

    def _unwrap(self, packet: Packet[Any]) -> None:
        """Bring the packet's times to the clock of the source's beginning."""
        if self._wrapped is None:
            time = Fraction(packet.pts or packet.dts or 0) * packet.time_base
            near = time if self.expected is None else self.probe.start + self.expected
            self._wrapped = unwrapped(time, near) - time
        if self._wrapped:
            shift = round(self._wrapped / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift

    def _note(self, packet: Packet[Any]) -> None:
        if packet.pts is None:
            raise MediaRefusedError(
                f"{self.probe.name} has frames without presentation times.",
                "Remux it to MP4.",
            )
        if packet.dts is not None:
            back = (self._latest_dts or packet.dts) - packet.dts
            if back * packet.time_base > CLOCK_TOLERANCE:
                raise several_recordings(self.probe.name)
            self._latest_dts = packet.dts
        if packet.is_keyframe and packet.pts <= self._first:
            self.decodable = True
        if not packet.is_discard and self._first <= packet.pts < self._beyond:
            self._wanted.append(packet.pts)

    def _is_in_vain(self, packet: Packet[Any]) -> bool:
        """Whether no keyframe before the span can follow, so that more lead is needed."""
        is_past = packet.dts is not None and packet.dts > self._first
        return is_past and not self.decodable and not self.from_start

    def window(self, path: Path) -> Window:
        if not self._wanted:
            raise InvalidInputError(f"{self.probe.name}: no frame lies in {self.span}.")
        base, zero = self.probe.time_base, self.probe.first_pts * self.probe.time_base
        frames = tuple(pts * base - zero - self.span.start for pts in sorted(self._wanted))
        missing = self.probe.start + self.span.end - self._reached
        if not self._done and missing > _EARLY_END:
            raise MediaInterruptedError(
                f"{self.probe.name} ended {float(missing):.1f} s before the end of {self.span}.",
                "It is tried again; if it stays so, the source is cut short.",
            )
        return Window(
            path=path,
            span=self.span,
            origin=zero + self.span.start + self._shift,
            frames=frames,
            # VP8 has packets that are never shown, so they cannot be counted as frames.
            frames_are_packets=self.picture.codec_context.name != "vp8",
            has_audio=self._sound,
            is_last=self._exhausted and self.picture.index not in self._done,
        )
