"""Sound on disk in the recognisers' format: 16 kHz, mono, 16 bits little-endian, no header."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
    """The middle of the 0.6 s from `first` to `last` that are the quietest."""
    count = (last - first) // _BLOCK
    blocks = sound[first : first + count * _BLOCK].reshape(count, _BLOCK).astype(np.float32)
    energy = np.square(blocks).sum(axis=1)
    width = min(_PAUSE_BLOCKS, count)
    averaged = np.convolve(energy, np.ones(width), "valid")
    return first + int(averaged.argmin()) * _BLOCK + width * _BLOCK // 2
