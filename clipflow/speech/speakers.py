"""Who says each word, where a recording has a voice on each of its two channels.

Telephone calls and remote recordings often have: the louder channel then says whose word it is. No
model is needed. Ordinary stereo, where every voice is on both channels, is not such a recording.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipflow.domain.transcript import Word

# Levels are taken of blocks of 50 ms, shorter than a word.
LEVELS_PER_SECOND = 20
# Of what is spoken, the share that one channel must have at least by itself, by this factor of
# amplitude (12 dB): microphones in one room differ by less.
_SHARE, _FACTOR = 0.8, 4.0
# Seconds that each channel must be the louder one, so that a hum on one is no voice.
_LEAST_SECONDS = 1.0
# Of the loudest blocks' level: what is quieter is a pause, in which noise decides.
_QUIET = 0.1

Levels = NDArray[np.float32]


@dataclass(frozen=True)
class ChannelLevels:
    """The loudness (root mean square) of two channels, `LEVELS_PER_SECOND` rows of two numbers."""

    rows: Levels

    @classmethod
    def read(cls, content: bytes) -> "ChannelLevels":
        return cls(np.frombuffer(content, "<f4").reshape(-1, 2))

    def written(self) -> bytes:
        return self.rows.astype("<f4").tobytes()

    def have_a_voice_each(self) -> bool:
        """Whether nearly all that is spoken is on one of the channels, and each has its share."""
        louder, quieter = self.rows.max(axis=1), self.rows.min(axis=1)
        if not len(louder):
            return False
        spoken = louder > _QUIET * np.percentile(louder, 95)
        alone = spoken & (louder > _FACTOR * quieter)
        if not spoken.any() or alone.sum() < _SHARE * spoken.sum():
            return False
        counts = np.bincount(self.rows[alone].argmax(axis=1), minlength=2)
        return bool(counts.min() >= _LEAST_SECONDS * LEVELS_PER_SECOND)

    def assign(self, words: Sequence[Word]) -> list[Word]:
        """`words`, each with the channel on which it is louder as its speaker."""
        return [word.model_copy(update={"speaker": self._speaker(word)}) for word in words]

    def _speaker(self, word: Word) -> str:
        first = int(word.start * LEVELS_PER_SECOND)
        last = max(first + 1, int(np.ceil(word.end * LEVELS_PER_SECOND)))
        energy = np.square(self.rows[first:last]).sum(axis=0)
        return f"SPEAKER_0{int(energy.argmax()) if len(energy) else 0}"
