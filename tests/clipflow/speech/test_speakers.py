"""Words get speakers from a channel or an audio track per speaker, but not from ordinary stereo."""

import json
import os
import wave
from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.programs import ffmpeg
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.timecode import parse_timecode
from clipflow.domain.transcript import Word, spread_words
from clipflow.jobs.transcription import transcribe_file
from clipflow.media.probe import probe_sound
from clipflow.media.source import LocalSource
from clipflow.settings import Models
from clipflow.speech import audio
from clipflow.speech.audio import RATE, Samples, samples
from clipflow.speech.channels import ChannelLevels, Track, own_track, track_levels
from tests.clipflow.speech.conftest import SAMPLE, SECONDS

MATERIAL = os.environ.get("CLIPFLOW_MATERIAL")


def levels_in(path: Path, folder: Path) -> ChannelLevels:
    source = LocalSource(path)
    levels = audio.extract(source, probe_sound(source), folder / "sound.raw")
    assert levels is not None
    return levels


def write_wave(path: Path, sound: Samples) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(sound.tobytes())


def levels_of(left: NDArray[np.float64], right: NDArray[np.float64], folder: Path) -> ChannelLevels:
    path = folder / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.stack([left, right], axis=1).astype("<i2").tobytes())
    return levels_in(path, folder)


@pytest.fixture
def turns() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two voices of two seconds each in turn, five times, over a little noise."""
    random = np.random.default_rng(1)
    voice = random.normal(0, 4000, 2 * RATE)
    quiet = np.zeros(2 * RATE)
    first = np.concatenate([voice, quiet] * 5) + random.normal(0, 10, 20 * RATE)
    second = np.concatenate([quiet, voice] * 5) + random.normal(0, 10, 20 * RATE)
    return first, second


def test_the_louder_channel_determines_the_speaker(
    turns: tuple[NDArray[np.float64], NDArray[np.float64]], tmp_path: Path
) -> None:
    levels = levels_of(*turns, tmp_path)
    assert levels.have_a_voice_each()
    again = ChannelLevels.read(levels.written(), 2)
    words = [Word(text=str(at), start=at + 0.3, end=at + 0.8) for at in range(8)]
    speakers = [word.speaker for word in again.assign(words)]
    assert speakers == [f"SPEAKER_0{at // 2 % 2}" for at in range(8)]


def test_music_on_the_other_channel_says_no_words(
    turns: tuple[NDArray[np.float64], NDArray[np.float64]], tmp_path: Path
) -> None:
    """The channels are independent, and the music is the louder one in some of the words."""
    voice, random = turns[0], np.random.default_rng(2)
    music = random.normal(0, 4000, len(voice)) * (1 + 0.4 * np.sin(np.arange(len(voice)) / RATE))
    levels = levels_of(voice, music, tmp_path)
    assert levels.have_a_voice_each()
    starts = [turn + offset for turn in range(0, 20, 4) for offset in (0.2, 0.8, 1.4)]
    words = [Word(text="word", start=start, end=start + 0.5) for start in starts]
    assert {word.speaker for word in levels.assign(words)} == {None}
    # A track that is said to be a speaker's is believed.
    assert {word.speaker for word in levels.assign(words, ("Ada", "Ben"))} == {"Ada", "Ben"}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_ordinary_stereo_has_no_voice_for_each_channel(
    turns: tuple[NDArray[np.float64], NDArray[np.float64]], tmp_path: Path, share: float
) -> None:
    first, second = turns
    # 0: all on the left channel; 0.3: two voices panned a little apart; 1: mono on both channels.
    left, right = first + second, (first + second) * share
    if share == 0.3:
        left, right = first + share * second, second + share * first
    assert not levels_of(left, right, tmp_path).have_a_voice_each()


@pytest.fixture
def voices(sample_sound: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two stretches of speech, each of half a minute, from the demo's sample."""
    spoken = samples(sample_sound).astype(np.float64)
    return spoken[: 30 * RATE], spoken[30 * RATE : 60 * RATE]


def test_voices_on_separate_channels_are_detected_even_if_both_speak_at_once(
    voices: tuple[NDArray[np.float64], NDArray[np.float64]], tmp_path: Path
) -> None:
    assert levels_of(*voices, tmp_path).have_a_voice_each()


def test_two_microphones_in_one_room_are_not_a_channel_per_speaker(
    voices: tuple[NDArray[np.float64], NDArray[np.float64]], tmp_path: Path
) -> None:
    """Both voices reach both microphones, at different times and with the room's echoes."""
    random = np.random.default_rng(1)
    seconds = np.arange(int(0.3 * RATE)) / RATE
    channels = []
    for delays in ((10, 40), (40, 8)):
        mixed = np.zeros(30 * RATE)
        for voice, delay in zip(voices, delays, strict=True):
            echoes = random.normal(0, 0.06, len(seconds)) * np.exp(-seconds / 0.04)
            echoes[delay] += 1
            mixed += np.convolve(voice, echoes)[: len(mixed)] / 3
        channels.append(mixed)
    assert not levels_of(channels[0], channels[1], tmp_path).have_a_voice_each()


def test_a_hum_on_the_other_channel_is_not_a_second_voice(
    voices: tuple[NDArray[np.float64], NDArray[np.float64]], tmp_path: Path
) -> None:
    voice = voices[0]
    hum = 800 * np.sin(2 * np.pi * 100 * np.arange(len(voice)) / RATE)
    assert not levels_of(voice, hum, tmp_path).have_a_voice_each()


@pytest.mark.skipif(not MATERIAL, reason="CLIPFLOW_MATERIAL names no folder of real recordings")
def test_a_real_recording_with_a_channel_per_speaker_is_detected(tmp_path: Path) -> None:
    path = Path(str(MATERIAL)) / "speech" / "fw-stereo_diarization.wav"
    assert levels_in(path, tmp_path).have_a_voice_each()


@pytest.fixture(scope="session")
def conversation() -> list[tuple[str, float, float, str]]:
    """Speaker, start, end and text of each line of the demo's sample that is measured."""
    lines = json.loads((SAMPLE / "conversation.json").read_text())
    times = [
        [float(parse_timecode(line[name])) for name in ("startTime", "endTime")] for line in lines
    ]
    spoken = [
        (line["speaker"], start, end, line["text"])
        for line, (start, end) in zip(lines, times, strict=True)
    ]
    return [line for line in spoken if line[2] < SECONDS]


def speakers_tracks(sound: Path, conversation: Sequence[tuple[str, float, float, str]]) -> Samples:
    """A row for each of the two speakers: their own voice, and the other's 20 dB lower."""
    whole = samples(sound).astype(np.float64)
    tracks = np.stack([whole / 10, whole / 10])
    for speaker, start, end, _ in conversation:
        span = slice(round(start * RATE), round(end * RATE))
        tracks[0 if speaker == "guest" else 1, span] = whole[span]
    return tracks.astype(np.int16)


@pytest.fixture(scope="session")
def two_tracks(
    sample_sound: Path,
    conversation: list[tuple[str, float, float, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Path, Path]:
    """The first speaker's file, the second's, and a video's: its sound, and then both tracks."""
    folder = tmp_path_factory.mktemp("tracks")
    files = folder / "first.wav", folder / "second.wav"
    for file, track in zip(files, speakers_tracks(sample_sound, conversation), strict=True):
        write_wave(file, track)
    mixed = folder / "mixed.mkv"
    raw = ("-f", "s16le", "-ar", str(RATE), "-i", str(sample_sound))
    inputs = (*raw, "-i", str(files[0]), "-i", str(files[1]))
    ffmpeg(*inputs, "-map", "0", "-map", "1", "-map", "2", "-c:a", "flac", str(mixed))
    return *files, mixed


def test_the_track_of_a_speaker_determines_the_speaker(
    two_tracks: tuple[Path, Path, Path], conversation: list[tuple[str, float, float, str]]
) -> None:
    *files, mixed = two_tracks
    words = [
        word.model_copy(update={"speaker": speaker})
        for speaker, start, end, text in conversation
        for word in spread_words(text.split(), start, end)
    ]
    video = LocalSource(mixed)
    for tracks in (
        [own_track(LocalSource(file)) for file in files],
        [Track(video, Fraction(0), number) for number in (1, 2)],
    ):
        found = track_levels(tracks).assign(words, ("guest", "host"))
        assert len(found) > 100
        assert sum(a.speaker != b.speaker for a, b in zip(words, found, strict=True)) <= 1


@pytest.mark.slow
def test_words_have_the_name_given_for_the_track_of_their_speaker(
    two_tracks: tuple[Path, Path, Path],
    conversation: list[tuple[str, float, float, str]],
    tmp_path: Path,
) -> None:
    # Only as much as contains both speakers, because recognition is slow.
    short = tmp_path / "short.mkv"
    ffmpeg("-i", str(two_tracks[2]), "-t", "17", "-map", "0", "-c", "copy", str(short))
    tracks: dict[str, int | Path] = {"Ada": two_tracks[0], "Ben": 2}
    found = transcribe_file(short, "en", Models(), speaker_tracks=tracks)
    turns = [name for name, _ in groupby(word.speaker for word in found.words)]
    assert turns == ["Ben", "Ada"]


def test_the_error_for_a_missing_track_names_it(tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    write_wave(path, np.zeros(RATE, np.int16))
    source = LocalSource(path)
    with pytest.raises(InvalidInputError, match=r"one.wav has no audio track 1: it has 0"):
        track_levels([own_track(source), Track(source, Fraction(0), 1)])
