"""A source's sound on disk, in the recognisers' format: 16 kHz, mono, 16 bits, little-endian.

The file has no header. The sound is extracted on the time line of the video, split at its quietest
places, and packed as FLAC, which is stored so that later runs need not read the video again.
"""

# PyAV's Packet takes a type argument for the type checker only.
from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet
from numpy.typing import NDArray

from clipflow.domain.errors import MediaInterruptedError, MediaRefusedError
from clipflow.domain.transcript import LONGEST
from clipflow.machine import Machine
from clipflow.media import ffmpeg
from clipflow.media.isolation import isolated
from clipflow.media.joined_files import (
    CLOCK_TOLERANCE,
    check_end,
    check_header,
    several_recordings,
)
from clipflow.media.probe import Probe, SoundProbe
from clipflow.media.source import Source
from clipflow.media.streams import audio_stream, decode
from clipflow.speech.channels import ChannelLevels, StereoMeter
from clipflow.telemetry.progress import report

# Samples a second: both recognisers were trained on it.
RATE = 16_000
SAMPLE_BYTES = 2
# Samples of a block whose loudness is measured: 30 ms, shorter than any pause.
_BLOCK = RATE * 30 // 1000

# Blocks over which loudness is averaged, 0.6 s: a pause, not the closure inside a "t".
_PAUSE_BLOCKS = 20

Samples = NDArray[np.int16]
Floats = NDArray[np.float32]


def samples(path: Path) -> Samples:
    """The samples at `path`, memory-mapped."""
    if path.stat().st_size < SAMPLE_BYTES:
        return np.zeros(0, np.int16)
    return np.memmap(path, "<i2", "r")


def read_samples(path: Path, span: range) -> Samples:
    """The samples `span` of the file at `path`, read into memory."""
    return np.fromfile(path, "<i2", len(span), offset=span.start * SAMPLE_BYTES)


def sample_count(path: Path) -> int:
    return path.stat().st_size // SAMPLE_BYTES


def floats(sound: Samples) -> Floats:
    """The samples as floats from -1 to 1."""
    scaled = sound.astype(np.float32)
    scaled /= 32768
    return scaled


def split_at_quiet(sound: Samples, first: int, last: int, longest: int, leeway: int) -> list[range]:
    """`first ≤ sample < last` in pieces of at most `longest` samples.

    Each is cut at the quietest place of its last `leeway` samples, so rarely inside a word.
    """
    found = []
    while last - first > longest:
        cut = _quietest(sound, first + longest - leeway, first + longest)
        found.append(range(first, cut))
        first = cut
    return [*found, range(first, last)]


def split_evenly(sound: Samples, longest: int, leeway: int) -> list[range]:
    """All of `sound` in the fewest pieces of at most `longest` samples, about equally long."""
    count = -(-len(sound) // (longest - leeway // 2))
    each = -(-len(sound) // max(1, count)) + leeway // 2
    return split_at_quiet(sound, 0, len(sound), max(1, each), min(leeway, each))


def _quietest(sound: Samples, first: int, last: int) -> int:
    """The quietest place from `first` to `last`: the middle of the quietest 0.6 s.

    The middle counts most (a Hann window), so that in speech without long pauses the place is
    inside a short one and not beside it.
    """
    count = (last - first) // _BLOCK
    blocks = sound[first : first + count * _BLOCK].reshape(count, _BLOCK).astype(np.float32)
    energy = np.square(blocks).sum(axis=1)
    width = min(_PAUSE_BLOCKS, count)
    averaged = np.convolve(energy, np.hanning(width + 2)[1:-1], "valid")
    return first + int(averaged.argmin()) * _BLOCK + width * _BLOCK // 2


logger = logging.getLogger(__name__)
# Seconds by which a timestamp may differ from the samples counted: more is a gap, not rounding.
_GAP = Fraction(1, 20)
# Seconds by which a source may end before the end that it declares.
_EARLY_END = 5
# Some seconds of sound: reporting progress for each frame would take as long as decoding.
_FRAMES_PER_REPORT = 256


def extract(source: Source, probe: Probe | SoundProbe, path: Path) -> ChannelLevels | None:
    """Write the sound of `source` to `path` in the format of this module.

    Its time 0 is that of the first video frame: earlier sound is left out. Gaps between timestamps
    and packets that cannot be decoded become silence; the latter are logged. A `Probe` must have
    sound. Returns the loudness of the two channels, None if there are not two.

    Raises MediaRefusedError if no sound can be decoded or the source is several recordings,
    MediaInterruptedError if it ends too early, and what `isolated` raises.
    """
    check_header(source)
    return isolated(source.name, _extract, source, probe, path)


def _extract(source: Source, probe: Probe | SoundProbe, path: Path) -> ChannelLevels | None:
    end = probe.duration or Fraction(LONGEST)
    with (
        path.open("wb") as file,
        source.open(Fraction(0), end) as container,
    ):
        line = _TimeLine(file, probe)
        for number, frame in enumerate(_frames(source, container, probe)):
            line.add(frame)
            if number % _FRAMES_PER_REPORT == 0:
                report(line.seconds / float(end))
        line.finish()
        return line.meter.levels


def _frames(
    source: Source, container: InputContainer, probe: Probe | SoundProbe
) -> Iterator[AudioFrame]:
    """Every frame of the sound. All streams are read, to find where the source ends."""
    sound = audio_stream(container, probe.name, _track(probe))
    if sound is None:
        raise MediaRefusedError(f"{probe.name} has no sound.", "Name a source that has it.")
    decoded, damaged, reached = 0, 0, Fraction(0)
    latest: Fraction | None = None
    for packet in _packets(source, container):
        if packet.pts is not None and packet.time_base:
            reached = max(reached, (packet.pts + (packet.duration or 0)) * packet.time_base)
        if packet.stream.index != sound.index:
            continue
        if packet.dts is not None and packet.time_base:
            time = packet.dts * packet.time_base
            # A second recording's sound would overwrite that of the first.
            if latest is not None and latest - time > CLOCK_TOLERANCE:
                raise several_recordings(probe.name)
            latest = time
        try:
            frames = decode(sound, packet)
        except av.error.InvalidDataError:
            damaged += 1
            continue
        decoded += len(frames)
        yield from frames
    if damaged:
        logger.warning("%s: %d packets of its sound cannot be decoded", probe.name, damaged)
        if not decoded:
            raise MediaRefusedError(
                f"No sound of {probe.name} can be decoded.", "Re-encode its sound."
            )
    _check_end(probe, reached)


def _packets(source: Source, container: InputContainer) -> Iterator[Packet[Any]]:
    """All packets. Raises MediaRefusedError if another file follows."""
    position = 0
    try:
        for packet in container.demux():
            position = max(position, (packet.pos or 0) + packet.size)
            yield packet
    except av.error.InvalidDataError:
        # libavformat finds the second header of WavPack to be invalid.
        check_end(source, position)
        raise
    check_end(source, position)


def _track(probe: Probe | SoundProbe) -> int | None:
    if isinstance(probe, SoundProbe):
        return probe.track
    return probe.audio.track if probe.audio else None


def _check_end(probe: Probe | SoundProbe, reached: Fraction) -> None:
    if isinstance(probe, SoundProbe) and probe.is_estimated:
        return
    missing = probe.start + (probe.duration or 0) - reached
    if missing > _EARLY_END:
        raise MediaInterruptedError(
            f"{probe.name} ended {float(missing):.1f} s before the end it declares.",
            "It is retried; if the error persists, the source is incomplete.",
        )


@dataclass
class _TimeLine:
    """Writes samples to a file at the positions that their timestamps give.

    Frames without a gap between them share one resampler. `_next` is when the next of them
    begins, in seconds on the container's clock, and `_place` the number of its first sample in the
    file.
    """

    file: BinaryIO
    probe: Probe | SoundProbe
    _resampler: av.AudioResampler | None = None
    _form: tuple[object, ...] = ()
    _next: Fraction = field(default_factory=Fraction)
    _place: int = 0
    _written: int = 0
    meter: StereoMeter = field(default_factory=StereoMeter)

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
        self.meter.add(frame, float(begins - self.probe.start))
        self._next += Fraction(frame.samples, frame.sample_rate)
        # `_place` has the position; the resampler would refuse uneven timestamps.
        frame.pts = None
        self._resample(frame)

    def finish(self) -> None:
        """Write what the resampler still holds."""
        if self._resampler is not None:
            self._resample(None)
            self._resampler = None

    def _start(self, begins: Fraction, form: tuple[object, ...]) -> None:
        place = round((begins - self.probe.start) * RATE)
        if place > LONGEST * RATE:
            raise MediaRefusedError(
                f"{self.probe.name} has sound at {float(begins):.0f} s, which cannot be.",
                "Remux it, so that its timestamps begin near zero.",
            )
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        self._form, self._next, self._place = form, begins, place

    def _resample(self, frame: AudioFrame | None) -> None:
        assert self._resampler is not None
        for part in self._resampler.resample(frame):
            # Nothing goes before the first frame, nor over what is already there.
            skipped = min(part.samples, max(0, self._written - self._place))
            kept = memoryview(part.planes[0])[skipped * SAMPLE_BYTES : part.samples * SAMPLE_BYTES]
            self._place += part.samples
            if kept:
                # A skipped range of the file reads as silence, and takes no space on disk.
                self.file.seek((self._place - part.samples + skipped) * SAMPLE_BYTES)
                self.file.write(kept)
                self._written = self._place


_RAW_FORMAT = ("-f", "s16le", "-ar", str(RATE), "-ac", "1")
# Seconds: an hour of sound takes two.
_DEADLINE = 600.0
_MAX_BYTES = LONGEST * RATE * SAMPLE_BYTES


def pack_flac(sound: Path, path: Path, machine: Machine) -> None:
    """Pack the sound that `extract` wrote as FLAC. Raises what `ffmpeg.run` raises."""
    arguments = [*_RAW_FORMAT, "-i", str(sound), "-c:a", "flac", "-f", "flac", str(path)]
    ffmpeg.run(
        arguments, f"packing {sound.name}", machine, _DEADLINE, max_bytes=2 * sound.stat().st_size
    )


def unpack_flac(path: Path, sound: Path, machine: Machine) -> None:
    """Unpack what `pack_flac` wrote. Raises what `ffmpeg.run` raises."""
    arguments = ["-f", "flac", "-i", str(path), *_RAW_FORMAT, str(sound)]
    ffmpeg.run(arguments, f"unpacking {path.name}", machine, _DEADLINE, max_bytes=_MAX_BYTES)
