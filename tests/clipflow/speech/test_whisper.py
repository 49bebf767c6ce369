"""WhisperX for real, with models so small that the test makes them.

Skipped where the extra is not installed, but for what a person then reads.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipflow.domain.errors import InvalidInputError, NotInstalledError
from clipflow.domain.transcript import Word
from clipflow.settings import models
from clipflow.speech import whisper
from clipflow.speech.sound import RATE
from clipflow.speech.transcribe import transcriber

LINE = "It costs 42 dollars, and more."
# Those whom WhisperX is made of warn of each other.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """WhisperX is chosen."""
    monkeypatch.setenv("CLIPFLOW_TRANSCRIBER", "whisperx")
    for name in ("CLIPFLOW_WHISPERX_MODEL", "CLIPFLOW_WHISPERX_ALIGN_MODEL", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    models.cache_clear()
    yield
    models.cache_clear()


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """WhisperX, on a machine without a network and without models."""
    # Set before anything of Hugging Face's is imported, which reads them then.
    with pytest.MonkeyPatch.context() as patch:
        home = str(tmp_path_factory.mktemp("home"))
        for name in ("HF_HOME", "TORCH_HOME", "NLTK_DATA"):
            patch.setenv(name, home)
        patch.setenv("HF_HUB_OFFLINE", "1")
        pytest.importorskip("whisperx", reason="the extra whisperx is not installed")
        yield


@pytest.fixture(scope="module")
def folders(offline: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Whisper that always writes LINE, and an aligner."""
    from tests.clipflow.speech.tiny_models import make_aligner, make_whisper

    folder = tmp_path_factory.mktemp("models")
    return make_whisper(folder, LINE.split()), make_aligner(folder / "aligner")


@pytest.fixture
def tiny(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPFLOW_WHISPERX_MODEL", str(folders[0]))
    monkeypatch.setenv("CLIPFLOW_WHISPERX_ALIGN_MODEL", str(folders[1]))
    models.cache_clear()


@pytest.mark.skipif(find_spec("whisperx") is not None, reason="the extra whisperx is installed")
def test_without_the_extra_a_person_is_told_how_to_get_it() -> None:
    with pytest.raises(NotInstalledError) as caught:
        transcriber()
    assert "make whisperx" in caught.value.remedy


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_each_word_of_a_long_sound_has_a_time(
    sample_sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whisper, "_WINDOW", 25 * RATE)
    monkeypatch.setattr(whisper, "_LEEWAY", 5 * RATE)
    transcript = transcriber()(sample_sound, None)
    texts = [word.text for word in transcript.words]
    # Once for each 30 seconds of a window in which someone speaks.
    assert texts == LINE.split() * (len(texts) // 6) and len(texts) >= 3 * 6
    assert transcript.language == "en"
    starts = [word.start for word in transcript.words]
    assert starts == sorted(starts)
    assert starts[0] < 5 and starts[-1] > 40
    aligned = [word for word in transcript.words if word.score is not None]
    assert aligned and all(0 <= word.score <= 1 for word in aligned if word.score is not None)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("seconds", [0, 2])
def test_silence_has_no_words(tmp_path: Path, seconds: int) -> None:
    sound = tmp_path / "sound"
    sound.write_bytes(bytes(2 * seconds * RATE))
    assert transcriber()(sound, None).words == ()


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_a_language_that_cannot_be_heard_is_refused(sample_sound: Path) -> None:
    with pytest.raises(InvalidInputError, match="hears English only, not 'de'"):
        transcriber()(sample_sound, "de-AT")
    with pytest.raises(InvalidInputError, match="does not know the language 'tlh'"):
        transcriber()(sample_sound, "tlh")


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_a_missing_model_is_named(sample_sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clipflow.speech import whisper_models

    with pytest.raises(NotInstalledError, match="Whisper model large-v3") as caught:
        transcriber()(sample_sound, "en")
    assert "CLIPFLOW_WHISPERX_MODEL" in caught.value.remedy
    with pytest.raises(NotInstalledError, match=r"alignment model jonatasgrosman/.* for 'ja'"):
        whisper_models.aligner("ja")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    models.cache_clear()
    with pytest.raises(NotInstalledError, match="diarization model") as caught:
        transcriber()(sample_sound, "en")
    assert "hf_secret" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_chinese_keeps_foreign_words_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from clipflow.speech import whisper_models
    from clipflow.speech.alignment import aligned

    sound = np.random.default_rng(1).normal(0, 0.1, 3 * RATE).astype(np.float32)
    segment = {"text": "我用iPhone，也用 Mac。", "start": 0.5, "end": 2.5}
    expected = ["我", "用", "iPhone，", "也", "用", "Mac。"]
    words = aligned(segment, sound, whisper_models.aligner("zh"))
    assert [word.text for word in words] == expected
    assert any(word.score is not None for word in words)
    monkeypatch.delenv("CLIPFLOW_WHISPERX_ALIGN_MODEL")
    models.cache_clear()
    assert whisper_models.aligner("sw") is None
    words = aligned(segment, sound, None)
    assert [word.text for word in words] == expected
    assert (words[0].start, words[-1].end) == (0.5, 2.5)


@pytest.mark.usefixtures("offline")
def test_each_word_has_the_speaker_of_its_turn() -> None:
    import pandas

    from clipflow.speech.speakers import told_apart

    words = [Word(text=str(at), start=at, end=at + 0.5) for at in range(6)]
    turns = [(0.9, 2.6, "A"), (3.9, 4.6, "B")]
    spoken = told_apart(words, pandas.DataFrame(turns, columns=["start", "end", "speaker"]))
    assert [word.speaker for word in spoken] == ["A", "A", "A", "A", "B", "B"]


def test_the_language_is_that_of_most_excerpts() -> None:
    class Listener:
        """Takes what is loud for Arabic, and silence for Norwegian, as Whisper is wont to."""

        class model:
            class model:
                is_multilingual = True

        def detect_language(self, sound: NDArray[np.float32]) -> str:
            return "ar" if np.abs(sound).max() > 0.1 else "nn"

    heard = np.full(300 * RATE, 9000, np.int16)
    heard[: 60 * RATE] = 0
    assert whisper._detected(Listener(), heard) == "ar"
