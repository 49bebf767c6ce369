"""A decoder that crashes ends its own process, and only its source is refused."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
from av.container import InputContainer

from clipflow.domain.errors import (
    InvalidInputError,
    MediaInterruptedError,
    TerminalError,
    TransientError,
)
from clipflow.media.isolation import isolated
from clipflow.media.probe import probe_source
from clipflow.media.source import FileSource, LocalSource
from clipflow.telemetry.progress import report, reporting_to
from tests.made_media import make_source
from tests.programs import parent_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CrashingSource(LocalSource):
    """A source that crashes the process that opens it, with the signal `how`."""

    how: int = signal.SIGABRT

    def open(self, start: Fraction, end: Fraction) -> InputContainer:
        if self.how == signal.SIGSEGV:
            ctypes.string_at(0)
        os.kill(os.getpid(), self.how)
        return super().open(start, end)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make_source(tmp_path / "film.mp4", size=(64, 48), seconds=1, sound=None)


@pytest.mark.parametrize("how", [signal.SIGABRT, signal.SIGSEGV])
def test_a_crash_of_a_decoder_fails_only_its_own_source(how: signal.Signals, film: Path) -> None:
    sources = [LocalSource(film), CrashingSource(film.with_name("bad.mp4"), how=how)] * 3

    def outcome(source: LocalSource) -> str:
        try:
            return str(probe_source(source).width)
        except TerminalError as error:
            return f"{type(error).__name__}: {error}"

    with ThreadPoolExecutor(len(sources)) as threads:
        outcomes = list(threads.map(outcome, sources))
    assert outcomes[::2] == ["64"] * 3
    (refusal,) = set(outcomes[1::2])
    assert refusal.startswith(f"MediaRefusedError: bad.mp4: the decoder crashed ({how.name}).")
    assert "re-encode it" in refusal


def test_a_decoder_that_is_killed_for_lack_of_memory_is_retried(film: Path) -> None:
    with pytest.raises(MediaInterruptedError, match=r"film\.mp4: .*SIGKILL.*more memory") as caught:
        probe_source(CrashingSource(film, how=signal.SIGKILL))
    assert isinstance(caught.value, TransientError)


def _log_and_report(number: int) -> tuple[int, int]:
    logger.warning("frame %d is damaged", number)
    report(0.5)
    return number, os.getpid()


def test_log_lines_and_progress_come_from_the_process(caplog: pytest.LogCaptureFixture) -> None:
    shares: list[float] = []
    with reporting_to(shares.append):
        number, pid = isolated("it", _log_and_report, 7)
    assert (number, shares) == (7, [0.5])
    assert pid != os.getpid()
    assert [(r.name, r.getMessage()) for r in caplog.records] == [
        (__name__, "frame 7 is damaged"),
    ]


def _refuse() -> None:
    raise InvalidInputError("No frame lies there.", "Correct it.")


def _fail() -> None:
    raise ZeroDivisionError("by nothing")


def test_errors_keep_their_type_and_fields() -> None:
    with pytest.raises(InvalidInputError) as refused:
        isolated("it", _refuse)
    assert (refused.value.message, refused.value.remedy) == ("No frame lies there.", "Correct it.")
    with pytest.raises(ZeroDivisionError, match="by nothing") as failed:
        isolated("it", _fail)
    assert "in _fail" in "".join(failed.value.__notes__)


def test_an_exception_while_reading_is_raised_and_ends_the_process(film: Path) -> None:
    content = film.read_bytes()

    class CancelledReadError(BaseException):
        pass

    def fetch(_start: int, _end: int) -> bytes:
        raise CancelledReadError

    with pytest.raises(CancelledReadError):
        probe_source(FileSource("far.mp4", "1", len(content), fetch))
    assert not _children_of_fork_server()
    # No lock on the object's blocks is left, so that it can be read again.
    source = FileSource("far.mp4", "1", len(content), lambda start, end: content[start:end])
    assert probe_source(source).width == 64


def _wait_forever(path: Path) -> None:
    path.write_text(str(os.getpid()))
    threading.Event().wait()


def test_a_cancelled_thread_leaves_no_process_behind(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    ended: list[type[BaseException]] = []

    def wait() -> None:
        try:
            isolated("it", _wait_forever, path)
        except KeyboardInterrupt as error:
            ended.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    pid = _written(path)
    # As Prefect cancels a task that runs in a thread.
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
    )
    thread.join(20)
    assert ended == [KeyboardInterrupt]
    _wait_until_ended(pid)


_PROGRAM = """
from pathlib import Path
from clipflow.media.isolation import isolated
from tests.clipflow.media.test_isolation import _wait_forever
isolated("it", _wait_forever, Path({path!r}))
"""


def test_a_killed_run_leaves_no_process_behind(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    command = [sys.executable, "-c", _PROGRAM.format(path=str(path))]
    run = subprocess.Popen(command, cwd=Path(__file__).parents[3])
    pid = _written(path)
    server = parent_of(pid)
    run.kill()
    run.wait()
    _wait_until_ended(pid)
    _wait_until_ended(server)


def test_a_killed_fork_server_is_started_again(film: Path) -> None:
    _, pid = isolated("it", _log_and_report, 1)
    server = isolated("it", os.getppid)
    assert server not in (pid, os.getpid())
    os.kill(server, signal.SIGKILL)
    _wait_until_ended(server, reaped=False)
    assert probe_source(LocalSource(film)).width == 64


def _children_of_fork_server() -> list[int]:
    server = isolated("it", os.getppid)
    deadline = time.monotonic() + 20
    while True:
        text = Path(f"/proc/{server}/task/{server}/children").read_text()
        if not text.split() or time.monotonic() > deadline:
            return list(map(int, text.split()))
        time.sleep(0.01)


def _written(path: Path) -> int:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(path.read_text())


def _wait_until_ended(pid: int, *, reaped: bool = True) -> None:
    deadline = time.monotonic() + 20
    stat = Path(f"/proc/{pid}/stat")
    while stat.exists():
        if not reaped and ") Z " in stat.read_text():
            return
        assert time.monotonic() < deadline, f"{pid} still runs"
        time.sleep(0.01)
