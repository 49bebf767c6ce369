"""A long video is transcribed in windows, and a window's stored result is reused."""

import json
from itertools import pairwise

import pytest

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import ShortsConfig
from clipflow.jobs import transcription
from clipflow.jobs.transcription import (
    SpeechWindow,
    join_windows,
    plan_windows,
    read_transcript,
    transcribe_window,
)
from clipflow.settings import Models
from clipflow.speech import transcriber
from clipflow.speech.sound import RATE
from clipflow.storage.objects import ObjectStore
from tests.clipflow.speech.conftest import SAMPLE, word_errors
from tests.made_media import a_machine

CONFIG = ShortsConfig.read({"segment_count": 1}, "the config")
pytestmark = pytest.mark.slow


CONFIG = ShortsConfig(segment_count=1)


class Talk:
    """The demo's sample in the object store, transcribed in windows of half a minute."""

    def __init__(self, objects: ObjectStore) -> None:
        self.objects, self.keys = objects, ShortsKeys("u", "windows", "warehouse")
        objects.upload(SAMPLE / "main.mp4", self.keys.original, {})

    def plan(self) -> list[SpeechWindow]:
        return plan_windows(self.keys, CONFIG, self.objects, a_machine(), Models(), force=False)

    def transcribe(self, windows: list[SpeechWindow]) -> None:
        for window in windows:
            transcribe_window(window, self.objects, a_machine(), Models(), threads=2, force=False)

    def join(self, windows: list[SpeechWindow]) -> None:
        join_windows(self.keys, CONFIG, windows, self.objects, a_machine(), Models())


def test_each_word_occurs_once_and_only_a_lost_window_is_transcribed_again(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcriber, "WINDOW", 40 * RATE)
    monkeypatch.setattr(transcriber, "_LEEWAY", 10 * RATE)
    recognized: list[int] = []
    recognize = transcriber.recognize_window

    def counted(*arguments: object) -> object:
        recognized.append(arguments[2])  # type: ignore[arg-type]
        return recognize(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(transcription, "recognize_window", counted)
    talk = Talk(objects)
    windows = talk.plan()
    assert len(windows) >= 5
    assert windows[0].first == 0
    assert all(before.last == after.first for before, after in pairwise(windows))
    assert {window.language for window in windows} == {"en"}

    # The second window fails before it stores its words, so the next run transcribes only that one.
    talk.transcribe([window for window in windows if window.number != 2])
    recognized.clear()
    assert talk.plan() == windows
    talk.transcribe(windows)
    assert recognized == [windows[1].first]
    talk.join(windows)

    transcript = read_transcript(talk.keys, objects)
    assert transcript.language == "en"
    starts = [word.start for word in transcript.words]
    assert starts == sorted(starts)
    lines = json.loads((SAMPLE / "conversation.json").read_text())
    expected_text = " ".join(line["text"] for line in lines)
    # No word is lost or repeated where two windows meet.
    assert word_errors(expected_text, " ".join(word.text for word in transcript.words)) <= 0.05
    assert talk.plan() == []
