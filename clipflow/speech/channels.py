"""Assigns words to speakers by channel or audio track, without a model.

In telephone calls and remote recordings each speaker often has a channel or a track, and a word
belongs to the loudest. Ordinary stereo, with every voice on both channels, does not qualify.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipflow.domain.transcript import Word

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

        A word that is on none of them keeps the speaker it has.
        """
        return [
            word.model_copy(update={"speaker": self._speaker(word, names) or word.speaker})
            for word in words
        ]

    def _speaker(self, word: Word, names: Sequence[str]) -> str | None:
        first = int(word.start * LEVELS_PER_SECOND)
        last = max(first + 1, int(np.ceil(word.end * LEVELS_PER_SECOND)))
        energy = np.square(self.rows[first:last]).sum(axis=0)
        return names[int(energy.argmax())] if energy.any() else None
