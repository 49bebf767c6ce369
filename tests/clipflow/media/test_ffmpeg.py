"""The runner, with an ffmpeg that does as each case needs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clipflow.domain.errors import DeadlineExceededError, MediaInterruptedError, MediaRefusedError
from clipflow.media import ffmpeg
from clipflow.settings import limits

Stand = Callable[[str], Path]


@pytest.fixture
def stands_for_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    def write(script: str) -> Path:
        path = tmp_path / "ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CLIPFLOW_FFMPEG", str(path))
        limits.cache_clear()
        ffmpeg.executable.cache_clear()
        return path

    yield write
    monkeypatch.undo()
    limits.cache_clear()
    ffmpeg.executable.cache_clear()


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(") ")[1][:1]
    except FileNotFoundError:
        return False


def test_an_ffmpeg_that_hangs_is_killed_with_all_it_started(
    stands_for_ffmpeg: Stand, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    stands_for_ffmpeg(f"trap '' TERM; sleep 600 & echo $! > {child}; wait")
    with pytest.raises(DeadlineExceededError, match="cutting x: ffmpeg did not end within 1 s"):
        ffmpeg.run([], "cutting x", deadline=1)
    pid = int(child.read_text())
    deadline = time.monotonic() + 5
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ffmpegs_own_last_words_are_told(stands_for_ffmpeg: Stand) -> None:
    stands_for_ffmpeg("seq 1 100000 >&2; echo 'moov atom not found' >&2; exit 1")
    with pytest.raises(MediaRefusedError, match="moov atom not found") as caught:
        ffmpeg.run([], "cutting x", deadline=10)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("script", ["kill -KILL $$", "exit 255"])
def test_an_ffmpeg_that_was_stopped_may_be_tried_again(
    stands_for_ffmpeg: Stand, script: str
) -> None:
    stands_for_ffmpeg(script)
    with pytest.raises(MediaInterruptedError, match="stopped from outside"):
        ffmpeg.run([], "cutting x", deadline=10)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child to its parent")
def test_ffmpeg_dies_with_a_killed_parent(stands_for_ffmpeg: Stand, tmp_path: Path) -> None:
    child = tmp_path / "child"
    stands_for_ffmpeg(f"echo $$ > {child}; exec sleep 600")
    parent = subprocess.Popen(
        [sys.executable, "-c", "from clipflow.media import ffmpeg; ffmpeg.run([], 'x', 600)"],
        env=os.environ,
    )
    deadline = time.monotonic() + 20
    while not (child.exists() and child.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pid = int(child.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_ffmpeg_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "ffmpeg"
    old.write_text("#!/bin/sh\necho ffmpeg version 4.4.2-0ubuntu\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    ffmpeg.executable.cache_clear()
    assert "imageio_ffmpeg" in ffmpeg.executable()
    ffmpeg.executable.cache_clear()
