"""`clipflow transcribe`, on a machine on which no stack runs."""

import json
import subprocess
from pathlib import Path

import pytest

from clipflow.domain.transcript import read_words
from clipflow.media import ffmpeg
from clipflow.subtitles.reading import read_subtitles
from tests.command.cli import run_clipflow
from tests.made_media import make_source
from tests.programs import ROOT

pytestmark = pytest.mark.slow

SAMPLE = ROOT / "demo" / "sample" / "main.mp4"


def run_ffmpeg(*arguments: object) -> None:
    subprocess.run([ffmpeg.executable(), "-v", "error", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video and an audio file of 12 seconds of speech, and a video without sound."""
    folder = tmp_path_factory.mktemp("recordings")
    run_ffmpeg("-i", SAMPLE, "-t", 12, "-c", "copy", folder / "talk.mp4")
    run_ffmpeg("-i", SAMPLE, "-t", 12, "-vn", folder / "voice.flac")
    make_source(folder / "silent.mp4", seconds=1, sound=None)
    return folder


def test_a_video_and_an_audio_file_get_four_files_each(folder: Path) -> None:
    ended = run_clipflow("transcribe", "talk.mp4", "voice.flac", "--language", "en", folder=folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert {path.name for path in (folder / "out").glob("[!.]*")} == {
        f"{stem}{suffix}"
        for stem in ("talk", "voice")
        for suffix in (".srt", ".vtt", ".txt", ".words.json")
    }
    for stem in ("talk", "voice"):
        assert f"✓ {stem}." in ended.stdout
        words = read_words((folder / "out" / f"{stem}.words.json").read_text(), stem)
        assert len(words) >= 15
        assert all(0 <= word.start < word.end <= 13 for word in words)
        text = " ".join(word.text for word in words)
        assert (folder / "out" / f"{stem}.txt").read_text().split() == text.split()
        for suffix in (".srt", ".vtt"):
            read = read_subtitles((folder / "out" / f"{stem}{suffix}").read_bytes(), stem)
            assert " ".join(word.text for word in read.words) == text
        assert (folder / "out" / f"{stem}.vtt").read_text().startswith("WEBVTT\n")


def test_a_file_that_fails_is_named_and_the_others_are_written(folder: Path) -> None:
    ended = run_clipflow(
        *("transcribe", "silent.mp4", "voice.flac", "--language", "en", "--out", "some", "--json"),
        folder=folder,
    )
    document = json.loads(ended.stdout)
    assert ended.returncode == document["error"]["exit"] == 1
    silent, voice = document["transcripts"]
    assert silent["file"] == "silent.mp4" and "has no sound" in silent["failure"]
    assert silent["srt"] is None and not (folder / "some" / "silent.srt").exists()
    assert voice["failure"] is None and voice["words"] >= 15
    assert (folder / voice["wordsJson"]).exists()
    assert document["job"] == "transcribe"


def test_a_model_that_cannot_be_loaded_is_the_error_of_the_whole_document(folder: Path) -> None:
    ended = run_clipflow(
        *("transcribe", "voice.flac", "talk.mp4", "--out", "none", "--json"),
        folder=folder,
        env={"CLIPFLOW_WHISPER_MODEL": str(folder / "no-model")},
    )
    document = json.loads(ended.stdout)
    assert ended.returncode == document["error"]["exit"] == 1
    assert "no-model" in document["error"]["message"]
    assert "Correct the setting" in document["error"]["remedy"]
    assert document["transcripts"] == []


def test_input_that_cannot_be_transcribed_is_rejected_before_any_work(folder: Path) -> None:
    (folder / "list.m3u8").write_text("#EXTM3U\n")
    (folder / "other").mkdir(exist_ok=True)
    (folder / "other" / "voice.mp3").write_bytes(b"")
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "voice.txt").write_text("my own notes")
    for arguments, message in (
        (("voice.flac", "list.m3u8"), "is an HLS playlist"),
        (("voice.flac", "other/voice.mp3"), "would have transcripts of the same name"),
        (("voice.flac", "--language", "English!"), "language: a language is a tag such as en"),
        (("voice.flac", "--speaker-track", "Ada=0"), "at least two"),
        (("voice.flac", *2 * ("--speaker-track", "Ada=0")), "a name is given twice"),
        (("voice.flac", "--out", "own"), "own/voice.txt exists"),
        (("voice.flac", "--out", "talk.mp4/out"), "talk.mp4/out cannot be written"),
        (("voice.flac", "gone.wav"), "'gone.wav' does not exist"),
    ):
        ended = run_clipflow("transcribe", *arguments, folder=folder)
        assert (ended.returncode, ended.stdout) == (2, "")
        [line] = ended.stderr.splitlines()
        assert message in line
    assert (folder / "own" / "voice.txt").read_text() == "my own notes"
