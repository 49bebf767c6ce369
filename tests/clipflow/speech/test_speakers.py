"""A voice on each channel tells who speaks; ordinary stereo does not."""

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipflow.domain.transcript import Word
from clipflow.media.probe import probe_sound
from clipflow.media.source import LocalSource
from clipflow.speech import audio
from clipflow.speech.sound import RATE
from clipflow.speech.speakers import ChannelLevels


def levels_of(left: NDArray[np.float64], right: NDArray[np.float64], folder: Path) -> ChannelLevels:
    path = folder / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.stack([left, right], axis=1).astype("<i2").tobytes())
    source = LocalSource(path)
    levels = audio.extract(source, probe_sound(source), folder / "sound.raw")
    assert levels is not None
    return levels


@pytest.fixture
def turns() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two voices of two seconds each in turn, five times, over a little noise."""
    random = np.random.default_rng(1)
    voice = random.normal(0, 4000, 2 * RATE)
    quiet = np.zeros(2 * RATE)
    first = np.concatenate([voice, quiet] * 5) + random.normal(0, 10, 20 * RATE)
    second = np.concatenate([quiet, voice] * 5) + random.normal(0, 10, 20 * RATE)
    return first, second


def test_the_louder_channel_says_whose_word_it_is(
    turns: tuple[NDArray[np.float64], NDArray[np.float64]], tmp_path: Path
) -> None:
    levels = levels_of(*turns, tmp_path)
    assert levels.have_a_voice_each()
    again = ChannelLevels.read(levels.written())
    words = [Word(text=str(at), start=at + 0.3, end=at + 0.8) for at in range(8)]
    said_by = [word.speaker for word in again.assign(words)]
    assert said_by == [f"SPEAKER_0{at // 2 % 2}" for at in range(8)]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_ordinary_stereo_has_no_voice_for_each_channel(
    turns: tuple[NDArray[np.float64], NDArray[np.float64]], tmp_path: Path, share: float
) -> None:
    first, second = turns
    # 0: everything on the left; 0.3: two voices a little apart; 1: a copy of mono.
    left, right = first + second, (first + second) * share
    if share == 0.3:
        left, right = first + share * second, second + share * first
    assert not levels_of(left, right, tmp_path).have_a_voice_each()
