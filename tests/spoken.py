"""Sources whose sound is loud during given words and quiet otherwise."""

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from clipflow.domain.transcript import Word
from tests.flows.warehouse import SENTENCES
from tests.made_media import FFMPEG, make_source

RATE = 48_000


def make_spoken(
    path: Path,
    words: Sequence[Word],
    *,
    seconds: int,
    rate: Fraction | int = 25,
    size: tuple[int, int] = (320, 180),
) -> Path:
    """Make a source at `path` with numbered frames, a loud tone for each word, and a quiet tone."""
    silent = path.with_stem(f"{path.stem}-silent")
    make_source(silent, rate=rate, seconds=seconds, size=size, sound=None)
    times = np.arange(seconds * RATE) / RATE
    sound = 0.004 * np.sin(2 * np.pi * 310 * times)
    for start, end in ((word.start, word.end) for word in words):
        spoken = (start <= times) & (times < end)
        # Each tone swells and fades, as a syllable does.
        swell = np.sin(np.pi * (times - start) / (end - start))
        sound += np.where(spoken, 0.3 * swell * np.sin(2 * np.pi * 1000 * times), 0)
    raw = path.with_suffix(".pcm")
    raw.write_bytes((sound * 32767).astype("<i2").tobytes())
    inputs = ["-i", str(silent), "-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", str(raw)]
    output = ["-c:v", "copy", "-c:a", "flac", "-strict", "-2", str(path)]
    subprocess.run([FFMPEG, "-v", "error", "-y", *inputs, *output], check=True)
    return path


def hesitant_words() -> list[Word]:
    """The words of `SENTENCES`, with the filler "erm," in the middle of each sentence."""
    words = []
    for number, sentence in enumerate(SENTENCES):
        texts = sentence.split()
        texts.insert(len(texts) // 2, "erm,")
        # The filler has more silence around it than other words.
        slot = 5 / (len(texts) + 1)
        begins = 6 * number + 0.5
        for text in texts:
            width, duration = (2 * slot, 0.6 * slot) if text == "erm," else (slot, 0.8 * slot)
            start = begins + (width - duration) / 2
            words.append(Word(text=text, start=round(start, 3), end=round(start + duration, 3)))
            begins += width
    return words
