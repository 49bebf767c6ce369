"""Recognition of the demo's sample, of silence and of noise by Whisper."""

import os
import re
import resource
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.transcript import Transcript, Word
from clipflow.media.probe import probe_sound
from clipflow.media.source import LocalSource
from clipflow.settings import Models, Transcriber
from clipflow.speech import audio
from clipflow.speech.audio import RATE, Samples, sample_count, samples, split_evenly
from clipflow.speech.transcriber import join_words, recognize_window, recognizer, transcribe
from clipflow.speech.whisper import WhisperRecognizer, _prepared, skipped_speech
from tests.clipflow.speech.conftest import word_error_rate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measured(sample_sound: Path) -> tuple[Transcript, int]:
    """The sample's transcript, and the number of page faults while it was recognized."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    transcript = transcribe(sample_sound, None, Models())
    return transcript, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.fixture(scope="module")
def transcript(measured: tuple[Transcript, int]) -> Transcript:
    return measured[0]


def test_whisper_is_the_default_transcriber(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLIPFLOW_TRANSCRIBER", raising=False)
    assert Models().transcriber is Transcriber.WHISPER


def test_the_sample_is_recognized_with_few_word_errors(
    transcript: Transcript, spoken: list[tuple[float, float, str]]
) -> None:
    expected = " ".join(text for _, _, text in spoken)
    # The sound may end within a further line, whose words are not compared.
    words = [word for word in transcript.words if word.end < spoken[-1][1] + 0.5]
    assert word_error_rate(expected, " ".join(word.text for word in words)) <= 0.035
    assert transcript.language == "en"
    assert all(word.score is not None and 0 <= word.score <= 1 for word in transcript.words)
    assert not re.search(r"[<>()\[\]+]", transcript.text)


def test_recognized_words_have_the_times_of_the_speech(
    transcript: Transcript, spoken: list[tuple[float, float, str]]
) -> None:
    starts, ends = ([getattr(word, of) for word in transcript.words] for of in ("start", "end"))
    assert starts == sorted(starts)
    for start, end, _ in spoken:
        assert min(abs(start - at) for at in starts) < 0.3
        assert min(abs(end - at) for at in ends) < 0.3


def test_speech_is_recognized_through_the_rumble_of_a_microphone(
    sample_sound: Path, spoken: list[tuple[float, float, str]]
) -> None:
    quiet = np.array(samples(sample_sound)[: int(spoken[1][1] * RATE)], float) * 0.03
    rumble = np.random.default_rng(0).normal(size=len(quiet))
    rumble = sosfilt(butter(4, [10, 30], "bandpass", fs=RATE, output="sos"), rumble)
    rumble *= 6000 / rumble.std()
    sound = (quiet + rumble).clip(-32768, 32767).astype(np.int16)
    words = recognizer(Models()).recognize(sound, "en")
    expected = " ".join(text for _, _, text in spoken[:2])
    assert word_error_rate(expected, " ".join(word.text for word in words)) <= 0.15


def test_the_quiet_end_of_real_speech_is_recognized(tmp_path: Path) -> None:
    if not (material := os.environ.get("CLIPFLOW_MATERIAL")):
        pytest.skip("CLIPFLOW_MATERIAL names no folder with real speech.")
    source = LocalSource(Path(material, "speech", "mfa-cold_corpus.wav"))
    sound = tmp_path / "sound"
    audio.extract(source, probe_sound(source), sound)
    words = recognizer(Models()).recognize(samples(sound), "en")
    assert words[-1].text.lower().startswith("thank") and 24 < words[-1].start < 24.5


def test_quiet_sound_is_amplified_and_other_sound_is_unchanged() -> None:
    speech = np.random.default_rng(0).normal(0, 3000, 4 * RATE)
    # Only a quarter of it is speech, and the rest is silence.
    sound = np.concatenate([speech, np.zeros(12 * RATE)])

    def level(factor: float) -> float:
        prepared = _prepared((sound * factor).astype(np.int16))
        return float(prepared[: 4 * RATE].std() / (sound[: 4 * RATE].std() / 32768))

    assert level(2) == pytest.approx(2, rel=0.01)
    assert level(0.3) == pytest.approx(level(0.1), rel=0.05)
    assert 0.3 < level(0.1) < 2
    # Not by more than 30 dB, and nothing can be made of digital silence.
    assert level(0.001) < 0.05
    assert not _prepared(np.zeros(RATE, np.int16)).any()


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of glibc is adjusted")
def test_the_decoder_reuses_its_memory(
    measured: tuple[Transcript, int], sample_sound: Path
) -> None:
    # If each step of the decoder allocates new pages, there are 40 000 page faults per second of
    # sound, which take half of the CPU time. With reuse there are about 3 000 if this test runs
    # alone, and more after other tests.
    assert measured[1] < 20_000 * sample_count(sample_sound) / RATE


def test_a_sentence_that_whisper_skips_is_recognized_by_itself(
    sample_sound: Path, spoken: list[tuple[float, float, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, skipped = spoken[1:3]
    start, end = first[0] - 0.4, skipped[1] + 0.3
    whisper = WhisperRecognizer(Models())
    timed_words = whisper._timed_words
    calls = []

    def without_a_sentence(sound: Samples, *arguments: Any) -> list[Word]:
        calls.append(len(sound) / RATE)
        words = timed_words(sound, *arguments)
        if len(calls) > 1:
            return words
        return [word for word in words if word.end + start < skipped[0]]

    monkeypatch.setattr(whisper, "_timed_words", without_a_sentence)
    sound = samples(sample_sound)[int(start * RATE) : int(end * RATE)]
    words = whisper.recognize(sound, "en")
    expected = f"{first[2]} {skipped[2]}"
    assert word_error_rate(expected, " ".join(word.text for word in words)) <= 0.05
    assert all(before.end <= after.start + 0.01 for before, after in pairwise(words))
    # Only the skipped sentence is recognised a second time.
    assert len(calls) == 2 and calls[1] < skipped[1] - skipped[0] + 1


def test_speech_with_words_is_not_recognized_again() -> None:
    words = [Word(text="a", start=start, end=start + 0.4) for start in (1.0, 1.5, 2.2, 3.1, 3.7)]
    assert skipped_speech(words, [(1.0, 4.5)]) == []
    # A pause is not speech, and a long word takes a second of it.
    assert skipped_speech(words, [(1.0, 4.5), (6.0, 7.125)]) == []
    assert skipped_speech(words, [(1.0, 4.5), (6.0, 7.25)]) == [(5.7, 7.55)]
    assert skipped_speech(words[:2], [(1.0, 4.5), (4.625, 5.0)]) == [(0.7, 4.625)]
    long = [Word(text="a", start=1.0, end=4.5)]
    assert skipped_speech(long, [(1.0, 4.5)]) == [(0.7, 4.8)]


def test_no_word_is_lost_or_repeated_where_speech_without_pauses_is_split(
    sample_sound: Path,
) -> None:
    # Blocks of 30 ms that are quiet and have quiet neighbours are left out of the sample, so that
    # its speech has no pauses.
    sound = np.array(samples(sample_sound))
    blocks = sound[: len(sound) // 480 * 480].reshape(-1, 480)
    is_loud = np.sqrt(np.square(blocks.astype(float)).mean(axis=1)) > 150
    continuous = blocks[np.convolve(is_loud, np.ones(3), "same") > 0].reshape(-1)[: 34 * RATE]
    whisper = recognizer(Models())
    whole = whisper.recognize(continuous, "en")
    windows = split_evenly(continuous, 18 * RATE, 4 * RATE)
    assert len(windows) >= 3
    found = [
        recognize_window(whisper, continuous[window.start : window.stop], window.start, "en", 1)
        for window in windows
    ]
    joined = [word.text for word in join_words(found)]
    assert len(joined) == len(whole)
    assert word_error_rate(" ".join(word.text for word in whole), " ".join(joined)) <= 0.02


def test_an_uncertain_word_that_both_windows_have_at_their_border_is_kept_once() -> None:
    words = [Word(text="idea,", start=9.0, end=9.4, score=0.9)]
    sure = Word(text="if...", start=9.4, end=9.98, score=0.6)
    unsure = Word(text="If", start=10.0, end=10.1, score=0.2)
    after = [Word(text="the", start=10.1, end=10.3, score=0.9)]
    assert join_words([[*words, sure], [unsure, *after]]) == [*words, sure, *after]
    again = sure.model_copy(update={"start": 10.0, "end": 10.1})
    assert join_words([[*words, sure], [again, *after]]) == [*words, sure, again, *after]
    later = unsure.model_copy(update={"start": 10.5, "end": 10.6})
    assert join_words([[*words, sure], [later, *after]]) == [*words, sure, later, *after]


@pytest.mark.parametrize("seconds", [0, 5])
def test_silence_has_no_words(tmp_path: Path, seconds: int) -> None:
    sound = tmp_path / "sound"
    sound.write_bytes(np.zeros(seconds * RATE, np.int16).tobytes())
    assert transcribe(sound, None, Models()).words == ()
    assert transcribe(sound, "en-GB", Models()).words == ()


def test_noise_and_music_have_no_words(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    noise = random.normal(0, 3000, 20 * RATE)
    times = np.arange(20 * RATE) / RATE
    chords = [
        sum(np.sin(2 * np.pi * pitch * times) for pitch in chord) * 3000
        for chord in ((220, 277, 330), (196, 247, 294))
    ]
    sound = tmp_path / "sound"
    sound.write_bytes(np.concatenate([noise, *chords]).astype("<i2").tobytes())
    assert transcribe(sound, "en", Models()).words == ()
    assert transcribe(sound, None, Models()).words == ()


def test_an_unknown_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="does not know the language 'tlh'") as caught:
        transcribe(tmp_path / "sound", "tlh", Models())
    assert "original.srt" in caught.value.remedy
