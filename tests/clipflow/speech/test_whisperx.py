"""WhisperX with tiny models that the tests make.

Skipped where the extra is not installed, except for the error message that a user then gets.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from clipflow.domain.errors import InvalidInputError, NotInstalledError
from clipflow.domain.transcript import Word
from clipflow.settings import Models
from clipflow.speech import transcriber
from clipflow.speech.audio import RATE, Samples, read_samples
from clipflow.speech.transcriber import detect_language, recognizer, transcribe
from clipflow.speech.weights import find_weights
from clipflow.speech.whisperx import align_segment, assign_speakers, diarize, load_alignment_model
from tests.clipflow.speech.conftest import word_error_rate

LINE = "It costs 42 dollars, and more."
# The libraries that WhisperX uses emit warnings about each other.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Select WhisperX by the environment."""
    monkeypatch.setenv("CLIPFLOW_TRANSCRIBER", "whisperx")
    for name in ("CLIPFLOW_WHISPER_MODEL", "CLIPFLOW_WHISPERX_ALIGN_MODEL", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """WhisperX, on a machine without a network and without models."""
    # The libraries of Hugging Face read these variables when they are imported.
    with pytest.MonkeyPatch.context() as patch:
        home = str(tmp_path_factory.mktemp("home"))
        for name in ("HF_HOME", "TORCH_HOME", "NLTK_DATA"):
            patch.setenv(name, home)
        patch.setenv("HF_HUB_OFFLINE", "1")
        pytest.importorskip("whisperx", reason="the extra whisperx is not installed")
        yield


@pytest.fixture(scope="module")
def folders(offline: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a Whisper that always writes LINE, and of an aligner."""
    from tests.clipflow.speech.tiny_models import make_aligner, make_whisper

    folder = tmp_path_factory.mktemp("models")
    return make_whisper(folder, LINE.split()), make_aligner(folder / "aligner")


@pytest.fixture
def tiny(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPFLOW_WHISPER_MODEL", str(folders[0]))
    monkeypatch.setenv("CLIPFLOW_WHISPERX_ALIGN_MODEL", str(folders[1]))


@pytest.fixture
def base(folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights `base` that the default installation has, in a folder, and the tiny aligner."""
    weights = find_weights("base")
    if not weights.packaged:
        pytest.skip("the packages with the Whisper model base are not installed: make weights")
    for file in weights.packaged:
        parts = (part.read_bytes() for part in file.parts)
        (tmp_path / file.name).write_bytes(b"".join(parts))
    monkeypatch.setenv("CLIPFLOW_WHISPER_MODEL", str(tmp_path))
    monkeypatch.setenv("CLIPFLOW_WHISPERX_ALIGN_MODEL", str(folders[1]))


@pytest.mark.skipif(find_spec("whisperx") is not None, reason="the extra whisperx is installed")
def test_without_the_extra_the_error_says_how_to_install_it() -> None:
    with pytest.raises(NotInstalledError) as caught:
        recognizer(Models())
    assert "make whisperx" in caught.value.remedy


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_each_word_of_a_long_sound_has_a_time(
    sample_sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcriber, "WINDOW", 25 * RATE)
    monkeypatch.setattr(transcriber, "_LEEWAY", 5 * RATE)
    transcript = transcribe(sample_sound, None, Models())
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
@pytest.mark.usefixtures("base")
def test_real_weights_from_a_folder_recognise_the_first_line(
    sample_sound: Path, spoken: list[tuple[float, float, str]], tmp_path: Path
) -> None:
    lines = spoken[:1]
    sound = tmp_path / "sound"
    # Up to the middle of the pause after the first line.
    sound.write_bytes(sample_sound.read_bytes()[: round((lines[-1][1] + 0.3) * RATE) * 2])
    transcript = transcribe(sound, None, Models())
    assert transcript.language == "en"
    expected = " ".join(text for _, _, text in lines)
    assert word_error_rate(expected, " ".join(word.text for word in transcript.words)) == 0
    starts = [word.start for word in transcript.words]
    assert starts == sorted(starts)
    # The tiny aligner is not trained, so the position of a word within the line means nothing.
    [(start, end, _)] = lines
    assert all(start - 1 < word.start <= word.end < end + 1 for word in transcript.words)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("seconds", [0, 2])
def test_silence_has_no_words(tmp_path: Path, seconds: int) -> None:
    sound = tmp_path / "sound"
    sound.write_bytes(bytes(2 * seconds * RATE))
    assert transcribe(sound, None, Models()).words == ()


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_an_unsupported_language_is_rejected(sample_sound: Path) -> None:
    with pytest.raises(InvalidInputError, match="knows English only, not 'de'"):
        transcribe(sample_sound, "de-AT", Models())
    with pytest.raises(InvalidInputError, match="does not know the language 'tlh'"):
        transcribe(sample_sound, "tlh", Models())


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_a_missing_model_is_named(sample_sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No package contains this model.
    monkeypatch.setenv("CLIPFLOW_WHISPER_MODEL", "large-v3")
    with pytest.raises(NotInstalledError, match="Whisper model large-v3") as caught:
        transcribe(sample_sound, "en", Models())
    assert "CLIPFLOW_WHISPER_MODEL" in caught.value.remedy
    with pytest.raises(NotInstalledError, match=r"alignment model jonatasgrosman/.* for 'ja'"):
        load_alignment_model("ja", Models())
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(NotInstalledError, match="diarization model") as caught:
        diarize([], read_samples(sample_sound, range(RATE)), Models())
    assert "hf_secret" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_chinese_keeps_foreign_words_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, 3 * RATE).astype(np.float32)
    segment = {"text": "我用iPhone，也用 Mac。", "start": 0.5, "end": 2.5}
    expected = ["我", "用", "iPhone，", "也", "用", "Mac。"]
    words = align_segment(segment, sound, load_alignment_model("zh", Models()))
    assert [word.text for word in words] == expected
    assert any(word.score is not None for word in words)
    monkeypatch.delenv("CLIPFLOW_WHISPERX_ALIGN_MODEL")
    assert load_alignment_model("sw", Models()) is None
    words = align_segment(segment, sound, None)
    assert [word.text for word in words] == expected
    assert (words[0].start, words[-1].end) == (0.5, 2.5)


@pytest.mark.usefixtures("offline")
def test_each_word_has_the_speaker_of_its_turn() -> None:
    import pandas

    words = [Word(text=str(at), start=at, end=at + 0.5) for at in range(6)]
    turns = [(0.9, 2.6, "A"), (3.9, 4.6, "B")]
    spoken = assign_speakers(words, pandas.DataFrame(turns, columns=["start", "end", "speaker"]))
    assert [word.speaker for word in spoken] == ["A", "A", "A", "A", "B", "B"]


class FakeLanguageDetector:
    """Detects Arabic in loud sound and Norwegian in silence, as Whisper often does."""

    def detect_language(self, sound: Samples) -> tuple[str, float]:
        return ("ar" if np.abs(sound).max() > 2000 else "nn"), 1.0

    def recognize(self, sound: Samples, language: str, threads: int = 1) -> list[Word]:
        return []


def test_the_language_is_that_of_most_excerpts(tmp_path: Path) -> None:
    signal = np.full(300 * RATE, 9000, np.int16)
    signal[: 60 * RATE] = 0
    signal.tofile(tmp_path / "sound")
    assert detect_language(FakeLanguageDetector(), tmp_path / "sound") == "ar"
