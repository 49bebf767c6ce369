"""Assigns words to speakers by the loudness of channels or audio tracks, without a model.

In telephone calls and remote recordings each speaker often has a channel or a track, and a word
belongs to the loudest. Ordinary stereo, with every voice on both channels, does not qualify.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from clipflow.domain.errors import MediaRefusedError
from clipflow.domain.transcript import LONGEST, Word
from clipflow.media.isolation import isolated
from clipflow.media.probe import probe_sound
from clipflow.media.source import Source
from clipflow.media.streams import audio_stream, decode

# Levels are taken of blocks of 50 ms, shorter than a word.
LEVELS_PER_SECOND = 20
# The least share of speech during which one channel is louder than the other by this factor of
# amplitude (12 dB). Microphones in one room differ by less.
_SHARE, _FACTOR = 0.8, 4.0
# Channels of a lower coherence hold different sounds. Measured: 0.00 to 0.03 for two voices
# recorded apart, also while both speak at once; 0.13 and more for two voices in a reverberant
# room, recorded by two microphones; 1 for a copy of one channel.
_COHERENCE = 0.08
# Seconds that each channel must be the louder one while someone speaks on it.
_LEAST_SECONDS = 1.0
# Speech on a channel is louder than this share of the loudest blocks, and than this multiple of the
# channel's own quietest tenth, which excludes a constant hum.
_QUIET, _OVER_NOISE = 0.1, 2.0

# The sound of a channel is no voice if its level in the pauses between words is more than this
# share of its level in the words that it is the loudest in: -8 dB. Music and traffic go on in the
# pauses. They can be judged if there are so many seconds of pauses. The level is that of the
# quietest quarter, since some of what seems a pause is speech that was not recognised.
_PAUSE_SHARE, _LEAST_PAUSES, _QUIETEST = 0.4, 2.0, 25
# Seconds beside a word that may still be speech.
_WORD_MARGIN = 0.25

Levels = NDArray[np.float32]
# The speakers of two channels, named as WhisperX names speakers.
CHANNELS: tuple[str, ...] = ("SPEAKER_00", "SPEAKER_01")


@dataclass(frozen=True)
class ChannelLevels:
    """The loudness (root mean square) of channels: `LEVELS_PER_SECOND` rows, a column per channel.

    `coherence` is how much of one channel is found in the other: 0 for nothing, 1 for all of it.
    """

    rows: Levels
    coherence: float = 1.0

    @classmethod
    def read(cls, content: bytes, columns: int) -> "ChannelLevels":
        return cls(np.frombuffer(content, "<f4").reshape(-1, columns))

    def written(self) -> bytes:
        return self.rows.astype("<f4").tobytes()

    def have_a_voice_each(self) -> bool:
        """Whether each of two channels has a voice of its own.

        Either nearly all speech is much louder on one channel, or the channels have nothing in
        common, as when two people who are recorded apart speak at once.
        """
        if not len(self.rows):
            return False
        louder, quieter = self.rows.max(axis=1), self.rows.min(axis=1)
        loud = np.maximum(
            _QUIET * np.percentile(louder, 95), _OVER_NOISE * np.percentile(self.rows, 10, axis=0)
        )
        spoken = self.rows > loud
        counts = (spoken & (self.rows == louder[:, None])).sum(axis=0)
        if counts.min() < _LEAST_SECONDS * LEVELS_PER_SECOND:
            return False
        alone = louder > _FACTOR * quieter
        return bool(self.coherence < _COHERENCE or alone[spoken.any(axis=1)].mean() >= _SHARE)

    def assign(self, words: Sequence[Word], names: Sequence[str] = CHANNELS) -> list[Word]:
        """`words`, each with the name of the channel on which it is loudest as its speaker.

        A word that is on none of them keeps the speaker it has. All words keep it if the names are
        CHANNELS, so that nobody has said that each has a voice, and one has a sound of another
        kind, like music.
        """
        if tuple(names) == CHANNELS and not self._are_voices(words):
            return list(words)
        return [
            word.model_copy(update={"speaker": self._speaker(word, names) or word.speaker})
            for word in words
        ]

    def _are_voices(self, words: Sequence[Word]) -> bool:
        """Whether each channel is much quieter in pauses than in the words it is loudest in."""
        is_pause = np.ones(len(self.rows), bool)
        loudest = np.full(len(self.rows), -1)
        for word in words:
            blocks = _blocks(word.start, word.end)
            loudest[blocks] = np.square(self.rows[blocks]).sum(axis=0).argmax()
            is_pause[_blocks(max(0, word.start - _WORD_MARGIN), word.end + _WORD_MARGIN)] = False
        if is_pause.sum() < _LEAST_PAUSES * LEVELS_PER_SECOND:
            return True
        between = np.percentile(self.rows[is_pause], _QUIETEST, axis=0)
        return all(
            between[column] <= _PAUSE_SHARE * np.median(self.rows[loudest == column, column])
            for column in range(self.rows.shape[1])
            if (loudest == column).any()
        )

    def _speaker(self, word: Word, names: Sequence[str]) -> str | None:
        energy = np.square(self.rows[_blocks(word.start, word.end)]).sum(axis=0)
        return names[int(energy.argmax())] if energy.any() else None


def _blocks(start: float, end: float) -> slice:
    """The rows of the time from `start` to `end` in seconds, at least one."""
    first = int(start * LEVELS_PER_SECOND)
    return slice(first, max(first + 1, int(np.ceil(end * LEVELS_PER_SECOND))))


# Two channels are compared at this sample rate, in windows of so many samples: speech is mostly
# below 4 kHz, and 64 ms are long compared with the delay from one microphone to another.
_COMPARED_RATE, _COMPARED = 8_000, 512


@dataclass(frozen=True)
class Track:
    """An audio track of `source`, by its number among them from 0; None for the default one.

    `start` is the time in seconds, on the container's own clock, from which times count.
    """

    source: Source
    start: Fraction
    number: int | None = None


def own_track(source: Source) -> Track:
    """The default audio track of a file that begins when the video does.

    Raises MediaRefusedError if it has no sound, and what `source_errors` raises.
    """
    return Track(source, probe_sound(source).start)


def track_levels(tracks: Sequence[Track]) -> ChannelLevels:
    """The loudness of each track; all tracks of one source are read in one pass.

    Raises InvalidInputError if a source has no such track, and what `source_errors` raises.
    """
    meter = _Meter(len(tracks))
    for track in tracks:
        same = [at for at, other in enumerate(tracks) if other.source is track.source]
        if tracks[same[0]] is track:
            columns = {tracks[at].number: at for at in same}
            measured = isolated(
                track.source.name, _measured, track.source, track.start, columns, len(tracks)
            )
            meter.merge(measured)
    return meter.levels(coherence=1.0)


def _measured(
    source: Source, start: Fraction, columns: Mapping[int | None, int], count: int
) -> "_Meter":
    """A meter of `count` columns; `columns` maps track numbers to columns."""
    meter = _Meter(count)
    with source.open(start, Fraction(LONGEST)) as container:
        streams = {}
        for number, column in columns.items():
            stream = audio_stream(container, source.name, number)
            if stream is None:
                raise MediaRefusedError(
                    f"{source.name} has no sound.", "Name a source that has it."
                )
            streams[stream.index] = stream, column
        for packet in container.demux(*(stream for stream, _ in streams.values())):
            stream, column = streams[packet.stream.index]
            try:
                frames = decode(stream, packet)
            except av.error.InvalidDataError:
                continue
            for frame in frames:
                if frame.pts is not None and frame.time_base:
                    begins = float(frame.pts * frame.time_base - start)
                    meter.add(column, _channels(frame), begins, frame.sample_rate)
    return meter


def _channels(frame: AudioFrame) -> NDArray[np.float64]:
    """The samples, a row for each channel, from -1 to 1."""
    sound = frame.to_ndarray()
    scaled = sound.astype(np.float64)
    if sound.dtype.kind in "iu":
        scaled -= 128 if sound.dtype.kind == "u" else 0
        scaled /= 1 << (8 * sound.dtype.itemsize - 1)
    return scaled if frame.format.is_planar else scaled.reshape(-1, frame.layout.nb_channels).T


class _Meter:
    """Measures loudness block by block, in columns."""

    def __init__(self, columns: int) -> None:
        self._energy = np.zeros((0, columns))
        self._samples = np.zeros((0, columns))
        self._count = 0

    def add(self, column: int, sound: NDArray[np.float64], begins: float, rate: int) -> None:
        """`sound` has a row for each channel; `begins` is in seconds. Sound before 0 is left
        out."""
        if begins < 0 or not sound.shape[1]:
            return
        blocks = ((begins + np.arange(sound.shape[1]) / rate) * LEVELS_PER_SECOND).astype(np.int64)
        first, count = int(blocks[0]), int(blocks[-1]) + 1
        self._grow(count)
        self._count = max(self._count, count)
        blocks -= first
        self._samples[first:count, column] += np.bincount(blocks)
        power = np.square(sound).mean(axis=0)
        self._energy[first:count, column] += np.bincount(blocks, power)

    def merge(self, other: "_Meter") -> None:
        """Add what `other`, which has as many columns, has measured."""
        self._grow(other._count)
        self._count = max(self._count, other._count)
        self._energy[: other._count] += other._energy[: other._count]
        self._samples[: other._count] += other._samples[: other._count]

    def levels(self, coherence: float) -> ChannelLevels:
        energy, samples = self._energy[: self._count], self._samples[: self._count]
        rows = np.sqrt(energy / np.maximum(1, samples)).astype(np.float32)
        return ChannelLevels(rows, coherence)

    def _grow(self, count: int) -> None:
        missing = count - len(self._samples)
        if missing > 0:
            # An hour at a time, as each time all is copied.
            more = max(missing, 3600 * LEVELS_PER_SECOND)
            self._energy = np.pad(self._energy, ((0, more), (0, 0)))
            self._samples = np.pad(self._samples, ((0, more), (0, 0)))


class StereoMeter:
    """Measures the loudness and the coherence of two channels."""

    def __init__(self) -> None:
        self._meter, self._coherence = _Meter(2), _Coherence()
        self._is_stereo = True

    def add(self, frame: AudioFrame, begins: float) -> None:
        """`begins` is in seconds from the beginning of the sound."""
        self._is_stereo &= frame.layout.nb_channels == 2
        if not self._is_stereo or begins < 0:
            return
        channels = _channels(frame)
        self._coherence.add(channels, frame.sample_rate)
        for column in range(2):
            sound = channels[column : column + 1]
            self._meter.add(column, sound, begins, frame.sample_rate)

    @property
    def levels(self) -> ChannelLevels | None:
        """The result; None if there are not two channels."""
        return self._meter.levels(self._coherence.value) if self._is_stereo else None


class _Coherence:
    """The magnitude-squared coherence of two channels, by Welch's method.

    It is 1 if one channel is a filtered copy of the other, and 0 if they are independent.
    Frequencies count by their power.
    """

    def __init__(self) -> None:
        self._pending = np.zeros((2, 0))
        self._powers = np.zeros((2, _COMPARED // 2 + 1))
        self._cross = np.zeros(_COMPARED // 2 + 1, np.complex128)
        self._weights = np.hanning(_COMPARED)

    def add(self, channels: NDArray[np.float64], rate: int) -> None:
        step = max(1, rate // _COMPARED_RATE)
        whole = channels[:, : channels.shape[1] // step * step]
        fewer = whole.reshape(2, -1, step).mean(axis=2)
        self._pending = np.concatenate([self._pending, fewer], axis=1)
        count = self._pending.shape[1] // _COMPARED
        if not count:
            return
        windows = self._pending[:, : count * _COMPARED].reshape(2, count, _COMPARED)
        self._pending = self._pending[:, count * _COMPARED :]
        first, second = np.fft.rfft(windows * self._weights)
        self._powers[0] += np.square(np.abs(first)).sum(axis=0)
        self._powers[1] += np.square(np.abs(second)).sum(axis=0)
        self._cross += (first * second.conj()).sum(axis=0)

    @property
    def value(self) -> float:
        common = np.square(np.abs(self._cross)).sum()
        most = self._powers.prod(axis=0).sum()
        return float(common / most) if most else 1.0
