"""The speech benchmark: word errors, errors of word starts, and a run with each transcriber."""

import json
from pathlib import Path

import pytest

from benchmarks import speech
from benchmarks.programs import ffmpeg
from benchmarks.speech import (
    Recording,
    TimedWord,
    read_sample,
    read_textgrid,
    start_errors,
    word_errors,
)

# The sample's first two lines end here, in seconds; the third starts half a second later.
_TWO_LINES = 17.8
_TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
2.5
<exists>
2
"IntervalTier"
"words"
0
2.5
4
0
0.25
""
0.25
0.5
"uh"
0.5
1.25
"I'm"
1.25
2.5
"here"
"IntervalTier"
"phones"
0
2.5
1
0
2.5
"spn"
"""


@pytest.mark.parametrize(
    ("said", "recognized", "wrong"),
    [
        ("uh so the first rule is", "So, the first rule is", 0),
        ("mister jones i'm alright", "Mr. Jones, I’m all right.", 0),
        ("three ill disposed men", "3 ill-disposed men", 0),
        ("as short as it can be", "as short as a candy", 3),
        ("one clip one idea", "one clip", 2),
        ("one clip", "well one long clip", 2),
        ("one clip", "", 2),
    ],
)
def test_word_errors_ignore_hesitations_and_spelling(
    said: str, recognized: str, wrong: int
) -> None:
    assert word_errors(said, recognized)[0] == wrong


def test_word_errors_are_counted_relative_to_the_spoken_words() -> None:
    assert word_errors("um one clip one idea", "one clip, one tidy idea") == (1, 4)


def test_starts_are_compared_only_for_words_in_both() -> None:
    truth = [
        TimedWord("the", 1.0),
        TimedWord("sick", 1.5),
        TimedWord("corpus", 2.0),
        TimedWord("the", 9.0),
    ]
    found = [
        TimedWord("the", 1.25),
        TimedWord("corpus", 1.5),
        TimedWord("is", 3.0),
        TimedWord("the", 9.0),
    ]
    assert start_errors(truth, found) == [0.25, 0.5, 0.0]


def test_word_times_are_read_from_a_textgrid(tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(_TEXTGRID)
    assert read_textgrid(path) == (TimedWord("i'm", 0.5), TimedWord("here", 1.25))


def test_real_speech_is_read_from_the_folder_if_it_is_english(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "speech"
    folder.mkdir()
    rows = [
        {"file": "a.wav", "language": "en", "text": "i'm here"},
        {"file": "b.wav", "language": "sv", "text": "tyst"},
    ]
    (folder / "texts.json").write_text(json.dumps(rows))
    (folder / "a.TextGrid").write_text(_TEXTGRID)
    monkeypatch.setenv("CLIPFLOW_MATERIAL", str(tmp_path))
    [found] = speech.real_recordings()
    assert found.path == folder / "a.wav" and found.text == "i'm here" and len(found.times) == 2
    monkeypatch.delenv("CLIPFLOW_MATERIAL")
    assert speech.real_recordings() == []


@pytest.mark.slow
def test_whisper_is_measured_with_and_without_alignment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "available", lambda: ["whisper", "whisper-unaligned"])
    cut = tmp_path / "lines.m4a"
    sample = read_sample()
    ffmpeg("-i", str(sample.path), "-t", str(_TWO_LINES), "-vn", "-c", "copy", str(cut))
    text = sample.text.partition("I like rules.")[0]
    spoken = Recording(cut, text, (TimedWord("welcome", 1.0), TimedWord("thank", 10.107)))
    findings = {one.name: one for one in speech.compare_transcribers(spoken, [spoken], spoken)}
    assert set(findings) == {
        f"speech/{name}/{what}"
        for name in ("whisper", "whisper-unaligned")
        for what in speech.TARGETS
    }
    by_name = {name: finding.ratio for name, finding in findings.items()}
    assert by_name["speech/whisper/sample-words-wrong-percent"] <= 3.5
    assert by_name["speech/whisper/word-starts-median-ms"] < 300
    assert 100 < by_name["speech/whisper/peak-mb"] < 2000
    assert 0 < by_name["speech/whisper/cpu-seconds-per-second"] < 5
    starts = "word-starts-median-ms"
    assert by_name[f"speech/whisper/{starts}"] != by_name[f"speech/whisper-unaligned/{starts}"]
    assert findings["speech/whisper/peak-mb"].target == 700
    assert findings["speech/whisper-unaligned/peak-mb"].target is None


@pytest.mark.slow
def test_a_transcriber_without_its_model_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speech, "available", lambda: ["whisper"])
    monkeypatch.setenv("CLIPFLOW_WHISPER_MODEL", "no-such-model")
    sample = read_sample()
    assert speech.compare_transcribers(sample, [], sample) == []
    assert "no-such-model" in capsys.readouterr().err
