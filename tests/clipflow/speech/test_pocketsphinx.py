"""The embedded listener hears the demo's sample."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from clipflow.domain.errors import InvalidInputError, MediaInterruptedError
from clipflow.settings import models
from clipflow.speech import pocketsphinx
from clipflow.speech.pocketsphinx import transcribe
from clipflow.speech.sound import RATE
from clipflow.speech.transcribe import transcriber
from tests.programs import eventually


def test_it_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLIPFLOW_TRANSCRIBER", raising=False)
    models.cache_clear()
    assert transcriber() is transcribe
    models.cache_clear()


@pytest.mark.slow
def test_a_conversation_is_understood_and_timed(
    sample_sound: Path, spoken: list[tuple[float, float, str]]
) -> None:
    transcript = transcribe(sample_sound)
    said = [word for _, _, text in spoken for word in plain(text)]
    heard = [word for one in transcript.words for word in plain(one.text)]
    assert edits(said, heard) / len(said) < 0.4
    starts, ends = ([getattr(word, of) for word in transcript.words] for of in ("start", "end"))
    assert starts == sorted(starts)
    for start, end, _ in spoken:
        assert min(abs(start - at) for at in starts) < 0.3
        assert min(abs(end - at) for at in ends) < 0.3
    assert all(word.score is not None and 0 <= word.score <= 1 for word in transcript.words)
    assert not re.search(r"[<>()\[\]+]", transcript.text)


@pytest.mark.slow
def test_what_is_heard_does_not_depend_on_how_many_listen(
    sample_sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = tmp_path / "sound"
    sound.write_bytes(sample_sound.read_bytes()[: 2 * 21 * RATE])
    heard = []
    for count in (1, 3):
        monkeypatch.setattr(pocketsphinx, "cores", lambda count=count: count)
        heard.append(transcribe(sound).words)
    assert heard[0] == heard[1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_listener_that_is_killed_may_be_tried_again(sample_sound: Path) -> None:
    failures: list[MediaInterruptedError] = []

    def listen() -> None:
        try:
            transcribe(sample_sound)
        except MediaInterruptedError as error:
            failures.append(error)

    thread = Thread(target=listen)
    thread.start()
    eventually(lambda: listeners(os.getpid()))
    os.kill(listeners(os.getpid())[0], signal.SIGKILL)
    thread.join(60)
    assert "-9" in failures[0].message
    assert not listeners(os.getpid())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_listeners_end_with_a_killed_parent(sample_sound: Path) -> None:
    command = "import sys, pathlib; from clipflow.speech.pocketsphinx import transcribe as t"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"{command}; t(pathlib.Path(sys.argv[1]))", str(sample_sound)]
    )
    eventually(lambda: listeners(parent.pid))
    orphans = listeners(parent.pid)
    parent.kill()
    parent.wait()
    eventually(lambda: not any(is_running(pid) for pid in orphans))


@pytest.mark.parametrize("seconds", [0, 5])
def test_silence_has_no_words(tmp_path: Path, seconds: int) -> None:
    sound = tmp_path / "sound"
    sound.write_bytes(np.zeros(seconds * RATE, np.int16).tobytes())
    assert transcribe(sound, "en-GB").words == ()


def test_another_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="English only") as caught:
        transcribe(tmp_path / "sound", "ar")
    assert "whisperx" in caught.value.remedy and "original.srt" in caught.value.remedy


def listeners(parent: int) -> list[int]:
    """The processes that decode for `parent`."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    children = [int(pid) for task in tasks for pid in task.read_text().split()]
    return [pid for pid in children if is_running(pid)]


def is_running(pid: int) -> bool:
    try:
        said = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"clipflow.speech.decoder" in said


def plain(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def edits(said: list[str], heard: list[str]) -> int:
    """Words to insert, leave out or replace, to make one of the other."""
    row = list(range(len(heard) + 1))
    for at, word in enumerate(said, 1):
        before, row[0] = row[0], at
        for place, other in enumerate(heard, 1):
            fewest = min(row[place] + 1, row[place - 1] + 1, before + (word != other))
            before, row[place] = row[place], fewest
    return row[-1]
