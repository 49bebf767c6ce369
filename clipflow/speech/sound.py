"""Sound on disk as recognisers want it: 16 kHz, mono, 16 bits little-endian, without a header."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Samples a second: what both recognisers were trained on.
RATE = 16_000
SAMPLE_BYTES = 2
# Samples over which loudness is taken: 30 ms, shorter than any pause.
_BLOCK = RATE * 30 // 1000

Samples = NDArray[np.int16]


def samples(path: Path) -> Samples:
    """The samples at `path`, mapped: only what is looked at is in memory."""
    if path.stat().st_size < SAMPLE_BYTES:
        return np.zeros(0, np.int16)
    return np.memmap(path, "<i2", "r")


def pieces(sound: Samples, first: int, last: int, longest: int, leeway: int) -> list[range]:
    """`first ≤ sample < last` in pieces of at most `longest` samples.

    Each is cut at the quietest place of its last `leeway` samples, so hardly inside a word.
    """
    found = []
    while last - first > longest:
        cut = _quietest(sound, first + longest - leeway, first + longest)
        found.append(range(first, cut))
        first = cut
    return [*found, range(first, last)]


def _quietest(sound: Samples, first: int, last: int) -> int:
    count = (last - first) // _BLOCK
    blocks = sound[first : first + count * _BLOCK].reshape(count, _BLOCK).astype(np.float32)
    return first + int(np.square(blocks).sum(axis=1).argmin()) * _BLOCK + _BLOCK // 2
