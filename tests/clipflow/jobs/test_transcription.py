"""A long video is transcribed in windows, and a window's stored result is reused."""

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.programs import ffmpeg
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import ShortsConfig
from clipflow.domain.timecode import parse_timecode
from clipflow.domain.transcript import Word, words_json
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
from clipflow.speech.audio import RATE
from clipflow.storage.objects import ObjectStore
from tests.clipflow.speech.conftest import SAMPLE, word_error_rate
from tests.made_media import a_machine, make_source

pytestmark = pytest.mark.slow


CONFIG = ShortsConfig(segment_count=1)


# The lines at the beginning of the demo's sample: more of them take longer and test nothing more.
LINES_READ = json.loads((SAMPLE / "conversation.json").read_text())[:14]


class Talk:
    """The beginning of the demo's sample in the object store, transcribed in short windows."""

    def __init__(self, objects: ObjectStore, folder: Path) -> None:
        self.objects, self.keys = objects, ShortsKeys("u", "windows", "warehouse")
        end = parse_timecode(LINES_READ[-1]["endTime"]) + Fraction("0.3")
        talk = folder / "talk.mp4"
        ffmpeg("-i", str(SAMPLE / "main.mp4"), "-t", f"{float(end)}", "-c", "copy", str(talk))
        objects.upload(talk, self.keys.original, {})

    def plan(self) -> list[SpeechWindow]:
        return plan_windows(self.keys, CONFIG, self.objects, a_machine(), Models(), force=False)

    def transcribe(self, windows: list[SpeechWindow]) -> None:
        for window in windows:
            transcribe_window(window, self.objects, a_machine(), Models(), threads=2, force=False)

    def join(self, windows: list[SpeechWindow]) -> None:
        join_windows(self.keys, CONFIG, windows, self.objects, a_machine(), Models())


def test_each_word_occurs_once_and_only_a_lost_window_is_transcribed_again(
    objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcriber, "WINDOW", 22 * RATE)
    monkeypatch.setattr(transcriber, "_LEEWAY", 5 * RATE)
    recognized: list[int] = []
    recognize = transcriber.recognize_window

    def counted(*arguments: object) -> object:
        recognized.append(arguments[2])  # type: ignore[arg-type]
        return recognize(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(transcription, "recognize_window", counted)
    talk = Talk(objects, tmp_path)
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
    expected_text = " ".join(line["text"] for line in LINES_READ)
    # No word is lost or repeated where two windows meet.
    assert word_error_rate(expected_text, " ".join(word.text for word in transcript.words)) <= 0.05
    assert talk.plan() == []


@pytest.fixture
def two_seconds(objects: ObjectStore, tmp_path: Path) -> ShortsKeys:
    """A video of two seconds in a folder of its own."""
    keys = ShortsKeys("u", tmp_path.name, "warehouse")
    video = make_source(tmp_path / "video.mp4", seconds=2, sound=("-c:a", "aac"))
    objects.upload(video, keys.original, {})
    return keys


ONE_SHORT = ShortsConfig.read({"segment_count": 1}, "the config")
CUE = "WEBVTT\n\n00:00.500 --> 00:01.500\nHello there\n"
LINES = json.dumps({"segments": [{"start": 0.5, "end": 1.5, "text": "Hello there"}]})


def test_joined_windows_are_in_the_script_of_the_configs_language(
    two_seconds: ShortsKeys, objects: ObjectStore
) -> None:
    plans = []
    for language, recognized, text in (("zh-CN", "頭髮", "头发"), ("zh-TW", "头发", "頭髮")):
        config = ShortsConfig(segment_count=1, language=language)
        windows = plan_windows(two_seconds, config, objects, a_machine(), Models(), force=False)
        words = [Word(text=each, start=at, end=at + 0.5) for at, each in enumerate(recognized)]
        objects.put_text(words_json(words), two_seconds.window_words(1), {}, "application/json")
        join_windows(two_seconds, config, windows, objects, a_machine(), Models())
        transcript = read_transcript(two_seconds, objects)
        assert (transcript.text, transcript.language) == (text, "zh")
        assert objects.text(two_seconds.text, 100) == text
        plans += windows
    # The requested script is part of the fingerprint, though Whisper is given the same language.
    assert [window.language for window in plans] == ["zh", "zh"]
    assert plans[0].made_from != plans[1].made_from


@pytest.mark.parametrize(("name", "content"), [("original.vtt", CUE), ("original.json", LINES)])
def test_supplied_subtitles_of_every_kind_replace_recognition(
    name: str, content: str, two_seconds: ShortsKeys, objects: ObjectStore
) -> None:
    objects.put_text(content, f"{two_seconds.folder}/{name}", {}, "text/plain")
    assert not plan_windows(two_seconds, ONE_SHORT, objects, a_machine(), Models(), force=False)
    assert read_transcript(two_seconds, objects).text == "Hello there"


@pytest.mark.parametrize(
    ("cue", "remedy"),
    [
        ("00:02.500 --> 00:03.500", "Store the subtitles of this video there"),
        ("01:00:00.500 --> 01:00:01.500", "They seem to count from 01:00:00"),
    ],
)
def test_subtitles_that_start_after_the_end_of_the_video_are_refused(
    cue: str, remedy: str, two_seconds: ShortsKeys, objects: ObjectStore
) -> None:
    content = f"WEBVTT\n\n{cue}\nHello there\n"
    objects.put_text(content, f"{two_seconds.folder}/original.vtt", {}, "text/vtt")
    with pytest.raises(InvalidInputError, match="lasts only 00:00:02") as raised:
        plan_windows(two_seconds, ONE_SHORT, objects, a_machine(), Models(), force=False)
    assert remedy in raised.value.remedy
