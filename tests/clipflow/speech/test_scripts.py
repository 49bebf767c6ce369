"""The script of Chinese words: the one that the requested language names."""

from pathlib import Path

import numpy as np
import pytest

from clipflow.domain.transcript import Transcript, Word
from clipflow.settings import Models
from clipflow.speech import transcriber
from clipflow.speech.audio import RATE, Samples
from clipflow.speech.transcriber import in_requested_script, transcribe

TRADITIONAL = ["他", "看", "著", "頭", "髮，", "發", "現", " iPhone ", "在", "皇", "后", "後", "面"]
SIMPLIFIED = ["他", "看", "着", "头", "发，", "发", "现", " iPhone ", "在", "皇", "后", "后", "面"]


def spoken(texts: list[str]) -> list[Word]:
    return [
        Word(text=text, start=number / 2, end=number / 2 + 0.4, score=0.5, speaker="Ada")
        for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize("tag", ["zh-CN", "zh-SG", "zh-Hans", "ZH-hans-HK"])
def test_simplified_characters_are_written_where_the_tag_names_them(tag: str) -> None:
    assert in_requested_script(spoken(TRADITIONAL), tag) == spoken(SIMPLIFIED)
    assert in_requested_script(spoken(SIMPLIFIED), tag) == spoken(SIMPLIFIED)


@pytest.mark.parametrize("tag", ["zh-TW", "zh-Hant", "zh-Hant-TW"])
def test_a_traditional_character_is_chosen_by_its_neighbours(tag: str) -> None:
    # One simplified character stands for two in "hair" and "discover", and in "queen" and "behind".
    assert in_requested_script(spoken(SIMPLIFIED), tag) == spoken(TRADITIONAL)


def test_hong_kong_has_characters_of_its_own() -> None:
    for tag, text in (("zh-TW", "說裡"), ("zh-HK", "説裏"), ("zh-Hant-MO", "説裏")):
        [word] = in_requested_script(spoken(["说里"]), tag)
        assert word.text == text


@pytest.mark.parametrize("tag", [None, "zh", "ja-JP", "en-HK"])
def test_words_stay_as_recognised_if_the_tag_names_no_chinese_script(tag: str | None) -> None:
    for texts in (TRADITIONAL, SIMPLIFIED):
        assert in_requested_script(spoken(texts), tag) == spoken(texts)


class TraditionalRecognizer:
    """Recognises the same Chinese words in every sound, in Traditional characters."""

    def detect_language(self, sound: Samples) -> tuple[str, float]:
        return "zh", 1.0

    def recognize(self, sound: Samples, language: str, threads: int = 1) -> list[Word]:
        assert language == "zh"
        return spoken(TRADITIONAL)


@pytest.mark.parametrize(
    ("tag", "texts"), [("zh-CN", SIMPLIFIED), ("zh", TRADITIONAL), (None, TRADITIONAL)]
)
def test_a_files_transcript_is_in_the_requested_script(
    tag: str | None, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcriber, "shared_recognizer", lambda models: TraditionalRecognizer())
    sound = tmp_path / "sound.raw"
    np.zeros(8 * RATE, np.int16).tofile(sound)
    assert transcribe(sound, tag, Models()) == Transcript(tuple(spoken(texts)), "zh")
