"""The audio of a window: decoded while it is read, and converted to one format on one time line.

A source's audio may change its channel layout or sample rate, as broadcasts do at an advert, or its
codec may be one that no window's container supports. Decoding it here makes later steps independent
of both.
"""

# PyAV's Packet takes a type argument for the type checker only.
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from clipflow.domain.errors import MediaRefusedError
from clipflow.media.probe import Probe
from clipflow.media.streams import decode

# Seconds by which a timestamp may differ from the time computed from the samples before it. A
# larger difference is a gap, not a container's rounding.
_GAP = Fraction(1, 200)
_SAMPLE_BYTES = 2
# Sample rates that a clip's output format supports.
RATES = (44100, 48000)


@dataclass
class Soundtrack:
    """Converts an audio stream to contiguous 16-bit mono or stereo PCM packets of a window.

    `audio` is the stream to decode, `output` the window. Frames that end before `start` or begin
    after `end`, in seconds on the container's clock, are dropped; gaps between timestamps become
    silence. `shift` is the number of seconds to add to that clock for the window's.
    """

    probe: Probe
    audio: AudioStream
    output: OutputContainer
    start: Fraction
    end: Fraction
    shift: int
    _resampler: av.AudioResampler | None = None
    _input_format: tuple[object, ...] = ()
    # The start of the next frame if there is no gap, in seconds on the container's clock, and the
    # number of the window's next sample, None before the first frame.
    _next: Fraction = field(default_factory=Fraction)
    _position: int | None = None
    _samples_to_skip: int = 0
    _packets: int = 0
    _frames: int = 0

    def __post_init__(self) -> None:
        declared = self.probe.audio
        assert declared
        self.rate = declared.sample_rate if declared.sample_rate in RATES else RATES[-1]
        self._layout = "mono" if declared.channels == 1 else "stereo"
        self._sample_bytes = _SAMPLE_BYTES * min(2, declared.channels)
        self._stream = self.output.add_stream("pcm_s16le", self.rate, layout=self._layout)

    def add(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """Decode one packet of the source's audio and return the window's packets for it.

        Raises MediaRefusedError for channels that cannot be mixed.
        """
        self._packets += 1
        correction = self._correction(packet)
        for frame in self._decode(packet):
            yield from self._add_frame(frame, correction)

    def finish(self) -> Iterator[Packet[Any]]:
        """Flush the decoder and the resampler and return the remaining packets.

        Raises MediaRefusedError if there were packets and none of them could be decoded.
        """
        for frame in self._decode(None):
            yield from self._add_frame(frame, Fraction(0))
        yield from self._resample(None)
        if self._packets and not self._frames:
            raise MediaRefusedError(
                f"No sound of {self.probe.name} can be decoded there.", "Re-encode its sound."
            )

    def _correction(self, packet: Packet[Any]) -> Fraction:
        """Seconds to add to the packet's time if the container's clock is coarser than a sample."""
        if self.probe.audio is None or packet.pts is None:
            return Fraction(0)
        time = packet.pts * packet.time_base
        return self.probe.audio.exact(time, packet.time_base) - time

    def _decode(self, packet: Packet[Any] | None) -> list[AudioFrame]:
        # A packet that cannot be decoded is treated as a gap, whatever error the decoder reports.
        try:
            frames = decode(self.audio, packet)
        except av.error.FFmpegError:
            return []
        self._frames += len(frames)
        return frames

    def _add_frame(self, frame: AudioFrame, correction: Fraction) -> Iterator[Packet[Any]]:
        begins = self._next
        if frame.pts is not None and frame.time_base is not None:
            begins = frame.pts * frame.time_base + correction
        length = Fraction(frame.samples, frame.sample_rate)
        if begins >= self.end or begins + length <= self.start:
            return
        target = (frame.format.name, frame.layout.name, frame.sample_rate)
        is_gap = self._position is None or abs(begins - self._next) > _GAP
        if is_gap or target != self._input_format:
            yield from self._resample(None)
            self._resampler, self._input_format = None, target
        if is_gap:
            self._next = begins
            yield from self._silence(round((begins + self.shift) * self.rate))
        self._next += length
        yield from self._resample(frame)

    def _silence(self, until: int) -> Iterator[Packet[Any]]:
        """Silence up to sample `until` of the window; none before the first frame."""
        if self._position is None:
            self._position = until
        while self._position < until:
            yield self._packet(bytes(self._sample_bytes * min(self.rate, until - self._position)))
        # If timestamps overlap, the repeated samples are dropped.
        self._samples_to_skip = self._position - until

    def _resample(self, frame: AudioFrame | None) -> Iterator[Packet[Any]]:
        if self._resampler is None:
            if frame is None:
                return
            self._resampler = av.AudioResampler("s16", self._layout, self.rate)
        for part in self._convert(self._resampler, frame):
            skipped = min(part.samples, self._samples_to_skip)
            self._samples_to_skip -= skipped
            data = bytes(part.planes[0])[
                skipped * self._sample_bytes : part.samples * self._sample_bytes
            ]
            if data:
                yield self._packet(data)

    def _convert(self, resampler: av.AudioResampler, frame: AudioFrame | None) -> list[AudioFrame]:
        if frame is not None:
            # Times are tracked here, and the resampler would reject a timestamp that is not
            # contiguous.
            frame.pts = None
        try:
            return resampler.resample(frame)
        except (av.error.FFmpegError, ValueError):
            raise MediaRefusedError(
                f"{self.probe.name}: its {self._input_format[1]} sound cannot be converted to "
                f"{self._layout}.",
                "Re-encode its sound in stereo.",
            ) from None

    def _packet(self, data: bytes) -> Packet[Any]:
        assert self._position is not None
        packet: Packet[Any] = Packet(data)
        packet.stream, packet.time_base = self._stream, Fraction(1, self.rate)
        packet.pts = packet.dts = self._position
        packet.duration = len(data) // self._sample_bytes
        packet.is_keyframe = True
        self._position += packet.duration
        return packet
