"""The sound of a window: decoded as it is read, and brought through one time line into one form.

A source's sound may change its layout or its rate on the way, as broadcasts do at an advert, or be
of a codec that no window can hold. What is decoded here is none of that any more.
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

# Seconds by which a timestamp may differ from the samples counted: more is a gap, not a
# container's rounding.
_GAP = Fraction(1, 200)
_SAMPLE_BYTES = 2
# Samples a second, as a clip's output format has them.
RATES = (44100, 48000)


@dataclass
class Soundtrack:
    """Samples of 16 bits, mono or stereo, in order and without a hole, as packets of a window.

    `sound` is what is decoded, `output` the window. What ends before `start` or begins after `end`,
    in seconds on the container's clock, is left out; what the timestamps leave out between is
    silence. `shift` brings that clock's seconds to the window's.
    """

    probe: Probe
    sound: AudioStream
    output: OutputContainer
    start: Fraction
    end: Fraction
    shift: int
    _resampler: av.AudioResampler | None = None
    _form: tuple[object, ...] = ()
    # When the next frame begins, if there is no gap; and which sample of the window is the next.
    _next: Fraction = field(default_factory=Fraction)
    _place: int | None = None
    _skipped: int = 0
    _packets: int = 0
    _frames: int = 0

    def __post_init__(self) -> None:
        declared = self.probe.sound
        assert declared
        self.rate = declared.sample_rate if declared.sample_rate in RATES else RATES[-1]
        self._layout = "mono" if declared.channels == 1 else "stereo"
        self._width = _SAMPLE_BYTES * min(2, declared.channels)
        self._copy = self.output.add_stream("pcm_s16le", self.rate, layout=self._layout)

    def add(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """What a packet of the source's sound adds to the window.

        Raises MediaRefusedError for channels that cannot be mixed.
        """
        self._packets += 1
        late = self._correction(packet)
        for frame in self._decoded(packet):
            yield from self._heard(frame, late)

    def finish(self) -> Iterator[Packet[Any]]:
        """What the decoder and the resampler still hold.

        Raises MediaRefusedError where there were packets and nothing of them could be decoded.
        """
        for frame in self._decoded(None):
            yield from self._heard(frame, Fraction(0))
        yield from self._resampled(None)
        if self._packets and not self._frames:
            raise MediaRefusedError(
                f"No sound of {self.probe.name} can be decoded there.", "Re-encode its sound."
            )

    def _correction(self, packet: Packet[Any]) -> Fraction:
        """Seconds to add where the container's clock is coarser than a sample."""
        if self.probe.sound is None or packet.pts is None:
            return Fraction(0)
        time = packet.pts * packet.time_base
        return self.probe.sound.exact(time, packet.time_base) - time

    def _decoded(self, packet: Packet[Any] | None) -> list[AudioFrame]:
        # What a decoder cannot read is a gap, whatever it says of it.
        try:
            frames = self.sound.codec_context.decode(packet)
        except av.error.FFmpegError:
            return []
        self._frames += len(frames)
        return frames

    def _heard(self, frame: AudioFrame, late: Fraction) -> Iterator[Packet[Any]]:
        begins = self._next
        if frame.pts is not None and frame.time_base is not None:
            begins = frame.pts * frame.time_base + late
        length = Fraction(frame.samples, frame.sample_rate)
        if begins >= self.end or begins + length <= self.start:
            return
        target = (frame.format.name, frame.layout.name, frame.sample_rate)
        is_gap = self._place is None or abs(begins - self._next) > _GAP
        if is_gap or target != self._form:
            yield from self._resampled(None)
            self._resampler, self._form = None, target
        if is_gap:
            self._next = begins
            yield from self._silence(round((begins + self.shift) * self.rate))
        self._next += length
        yield from self._resampled(frame)

    def _silence(self, until: int) -> Iterator[Packet[Any]]:
        """Silence up to a sample of the window; the first sound begins there without any."""
        if self._place is None:
            self._place = until
        while self._place < until:
            yield self._packet(bytes(self._width * min(self.rate, until - self._place)))
        # Sound that comes twice is heard once.
        self._skipped = self._place - until

    def _resampled(self, frame: AudioFrame | None) -> Iterator[Packet[Any]]:
        if self._resampler is None:
            if frame is None:
                return
            self._resampler = av.AudioResampler("s16", self._layout, self.rate)
        for part in self._mixed(self._resampler, frame):
            skipped = min(part.samples, self._skipped)
            self._skipped -= skipped
            data = bytes(part.planes[0])[skipped * self._width : part.samples * self._width]
            if data:
                yield self._packet(data)

    def _mixed(self, resampler: av.AudioResampler, frame: AudioFrame | None) -> list[AudioFrame]:
        if frame is not None:
            # Times are ours to keep, and the resampler would take an uneven one for an error.
            frame.pts = None
        try:
            return resampler.resample(frame)
        except (av.error.FFmpegError, ValueError):
            raise MediaRefusedError(
                f"{self.probe.name}: its sound of {self._form[1]} cannot be made {self._layout}.",
                "Re-encode its sound in stereo.",
            ) from None

    def _packet(self, data: bytes) -> Packet[Any]:
        assert self._place is not None
        packet: Packet[Any] = Packet(data)
        packet.stream, packet.time_base = self._copy, Fraction(1, self.rate)
        packet.pts = packet.dts = self._place
        packet.duration = len(data) // self._width
        packet.is_keyframe = True
        self._place += packet.duration
        return packet
