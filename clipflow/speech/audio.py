"""The sound of a source, read once and written to disk on the video's own time line."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer

from clipflow.domain.errors import MediaInterruptedError, MediaRefusedError
from clipflow.domain.transcript import LONGEST
from clipflow.media.probe import Probe, SoundProbe, audio_stream
from clipflow.media.source import Source, source_errors
from clipflow.speech.sound import RATE, SAMPLE_BYTES
from clipflow.speech.speakers import LEVELS_PER_SECOND, ChannelLevels
from clipflow.telemetry.progress import report

_LOG = logging.getLogger(__name__)
# Seconds by which a timestamp may differ from the samples counted: more is a gap, not rounding.
_GAP = Fraction(1, 20)
# A source may end this much before it said it would, in seconds.
_EARLY_END = 5
# Some seconds of sound: telling of each frame would take as long as decoding it.
_FRAMES_TO_TELL = 256


def extract(source: Source, known: Probe | SoundProbe, path: Path) -> ChannelLevels | None:
    """Write the sound of `source` to `path`, as `sound.RATE` says; time 0 is the first frame's.

    What the timestamps leave out is silence, and sound before the first frame is left out. Damage
    that a decoder cannot read is silence too, and logged. A `Probe` must have sound.
    Returns the loudness of its two channels, None where it has another number of them.

    Raises MediaRefusedError where there is no sound that can be decoded, MediaInterruptedError
    where the source ends too early, and what `source_errors` raises.
    """
    end = known.duration or Fraction(LONGEST)
    with (
        path.open("wb") as file,
        source_errors(source.name),
        source.open(Fraction(0), end) as container,
    ):
        line = _TimeLine(file, known)
        for number, frame in enumerate(_frames(container, known)):
            line.add(frame)
            if number % _FRAMES_TO_TELL == 0:
                report(line.seconds / float(end))
        line.finish()
        return line.meter.levels


def _frames(container: InputContainer, known: Probe | SoundProbe) -> Iterator[AudioFrame]:
    """Every frame of the sound; all streams are read, so that the end of the source is known."""
    sound = audio_stream(container, known.name)
    if sound is None:
        raise MediaRefusedError(f"{known.name} has no sound.", "Name a source that has it.")
    decoded, damaged, reached = 0, 0, Fraction(0)
    for packet in container.demux():
        if packet.pts is not None and packet.time_base:
            reached = max(reached, (packet.pts + (packet.duration or 0)) * packet.time_base)
        if packet.stream_index != sound.index:
            continue
        try:
            frames = [frame for frame in packet.decode() if isinstance(frame, AudioFrame)]
        except av.error.InvalidDataError:
            damaged += 1
            continue
        decoded += len(frames)
        yield from frames
    if damaged:
        _LOG.warning("%s: %d packets of its sound cannot be decoded", known.name, damaged)
        if not decoded:
            raise MediaRefusedError(
                f"No sound of {known.name} can be decoded.", "Re-encode its sound."
            )
    _check_end(known, reached)


def _check_end(known: Probe | SoundProbe, reached: Fraction) -> None:
    if isinstance(known, SoundProbe) and known.is_estimated:
        return
    missing = known.start + (known.duration or 0) - reached
    if missing > _EARLY_END:
        raise MediaInterruptedError(
            f"{known.name} ended {float(missing):.1f} s before the end it declares.",
            "It is tried again; if it stays so, the source is cut short.",
        )


@dataclass
class _TimeLine:
    """A file in which samples go where their timestamps say.

    Frames without a gap between them go through one resampler; `_next` is when the next of them
    begins, in seconds on the container's clock, and `_place` where its samples go.
    """

    file: BinaryIO
    known: Probe | SoundProbe
    _resampler: av.AudioResampler | None = None
    _form: tuple[object, ...] = ()
    _next: Fraction = field(default_factory=Fraction)
    _place: int = 0
    _written: int = 0
    meter: "_Meter" = field(default_factory=lambda: _Meter())

    @property
    def seconds(self) -> float:
        """How long what is written is."""
        return self._written / RATE

    def add(self, frame: AudioFrame) -> None:
        begins = self._next
        if frame.pts is not None and frame.time_base is not None:
            begins = frame.pts * frame.time_base
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or form != self._form or abs(begins - self._next) > _GAP:
            self.finish()
            self._start(begins, form)
        self.meter.add(frame, float(begins - self.known.start))
        self._next += Fraction(frame.samples, frame.sample_rate)
        # Times are ours to keep, and the resampler would take an uneven one for an error.
        frame.pts = None
        self._resample(frame)

    def finish(self) -> None:
        """Write what the resampler still holds."""
        if self._resampler is not None:
            self._resample(None)
            self._resampler = None

    def _start(self, begins: Fraction, form: tuple[object, ...]) -> None:
        place = round((begins - self.known.start) * RATE)
        if place > LONGEST * RATE:
            raise MediaRefusedError(
                f"{self.known.name} has sound at {float(begins):.0f} s, which cannot be.",
                "Remux it, so that its timestamps begin near zero.",
            )
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        self._form, self._next, self._place = form, begins, place

    def _resample(self, frame: AudioFrame | None) -> None:
        assert self._resampler is not None
        for part in self._resampler.resample(frame):
            # Nothing goes before the first frame, nor over what is already there.
            skipped = min(part.samples, max(0, self._written - self._place))
            heard = memoryview(part.planes[0])[skipped * SAMPLE_BYTES : part.samples * SAMPLE_BYTES]
            self._place += part.samples
            if heard:
                # What is skipped over reads as silence, and takes no room on disk.
                self.file.seek((self._place - part.samples + skipped) * SAMPLE_BYTES)
                self.file.write(heard)
                self._written = self._place


class _Meter:
    """Adds up the loudness of two channels, block by block."""

    def __init__(self) -> None:
        self._energy = np.zeros((0, 2))
        self._samples = np.zeros(0)
        self._count = 0
        self._is_stereo = True

    def add(self, frame: AudioFrame, begins: float) -> None:
        """`begins` is in seconds from the beginning of the sound."""
        self._is_stereo &= frame.layout.nb_channels == 2
        if not self._is_stereo or begins < 0:
            return
        sound = frame.to_ndarray().astype(np.float64)
        channels = sound.reshape(2, -1) if frame.format.is_planar else sound.reshape(-1, 2).T
        times = begins + np.arange(channels.shape[1]) / frame.sample_rate
        blocks = (times * LEVELS_PER_SECOND).astype(np.int64)
        first, count = int(blocks[0]), int(blocks[-1]) + 1
        self._grow(count)
        self._count = max(self._count, count)
        blocks -= first
        self._samples[first:count] += np.bincount(blocks)
        for channel, samples in enumerate(channels):
            self._energy[first:count, channel] += np.bincount(blocks, np.square(samples))

    @property
    def levels(self) -> ChannelLevels | None:
        """None where there are not two channels."""
        if not self._is_stereo:
            return None
        energy, samples = self._energy[: self._count], self._samples[: self._count]
        mean = energy / np.maximum(1, samples)[:, None]
        return ChannelLevels(np.sqrt(mean).astype(np.float32))

    def _grow(self, count: int) -> None:
        missing = count - len(self._samples)
        if missing > 0:
            # An hour at a time: growing for each frame would copy everything each time.
            more = max(missing, 3600 * LEVELS_PER_SECOND)
            self._energy = np.pad(self._energy, ((0, more), (0, 0)))
            self._samples = np.pad(self._samples, (0, more))
