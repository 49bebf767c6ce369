"""Running ffmpeg: choice of the binary, timeouts, confinement, progress and typed errors."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import IO

import imageio_ffmpeg

from clipflow.domain.errors import (
    ClipflowError,
    DeadlineExceededError,
    DiskFullError,
    MediaInterruptedError,
    MediaRefusedError,
)
from clipflow.machine import LARGEST_PICTURE, Machine
from clipflow.media.isolation import CRASH_SIGNALS
from clipflow.telemetry.progress import is_observed, report
from clipflow.telemetry.tracing import add_cpu_seconds, span

# 5.1 introduced `-fps_mode`, which is needed to preserve frame times.
MIN_VERSION = (5, 1)
_VERSION = re.compile(r"ffmpeg version n?(\d+)\.(\d+)")
_TAIL_BYTES = 1200

# Seconds that ffmpeg may take: a constant for its start, and more for each second of 1080p at 30
# frames a second.
_STARTUP_SECONDS, _SECONDS_PER_SECOND = 60.0, 20.0
# Upper bounds of an encoded file's size in bytes: at the CRF of `encode.py`, noise takes less than
# one byte for each pixel, and a second of audio takes less than two channels of PCM.
_BYTES_PER_PIXEL, _BYTES_PER_SECOND_OF_SOUND, _HEADER_BYTES = 1, 1 << 18, 1 << 20

# Inputs are files in these formats only. None of them is a playlist or a list of files, so no input
# can refer to another file or address.
_INPUT_LIMITS = (
    *("-protocol_whitelist", "file", "-format_whitelist", "nut,mov,flac,s16le,lavfi"),
    *("-max_pixels", str(LARGEST_PICTURE)),
)
# The file size limit holds for the log on stderr too, so it is never below this many bytes.
_MIN_FILE_LIMIT = 64 << 20
# POSIX counts a file size limit in blocks of this many bytes. It stays in force when the shell
# replaces itself with ffmpeg.
_BLOCK = 512
_LIMIT_FILE_SIZE = ("/bin/sh", "-c", 'ulimit -f "$0" 2>/dev/null; exec "$@"')

# ffmpeg reports its progress twice a second, on its standard output.
_PROGRESS_ARGUMENTS = ("-progress", "pipe:1", "-stats_period", "0.5")
# Microseconds of output written; `N/A` before the first frame.
_OUT_TIME = re.compile(rb"^out_time_us=(\d+)$", re.MULTILINE)
_READ_BYTES = 1 << 16


def executable(chosen: str | None = None) -> str:
    """The ffmpeg binary to run.

    `chosen` (CLIPFLOW_FFMPEG) if it is given, else the ffmpeg on the PATH if it is 5.1 or newer,
    else the one that the package imageio-ffmpeg includes.
    """
    return chosen or _find_executable(os.environ.get("PATH", os.defpath))


@cache
def _find_executable(path: str) -> str:
    found = shutil.which("ffmpeg", path=path)
    if found and _version(found) >= MIN_VERSION:
        return found
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _version(path: str) -> tuple[int, int]:
    output = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stdout
    match = _VERSION.match(output)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def encode_timeout(pixels: int, duration: Fraction) -> float:
    """Seconds that ffmpeg may take to encode `duration` seconds of frames of `pixels` pixels."""
    size = max(1.0, pixels / (1920 * 1080))
    return _STARTUP_SECONDS + _SECONDS_PER_SECOND * size * float(duration)


def max_output_bytes(pixels: int, frames: int, duration: Fraction) -> int:
    """Bytes that `frames` frames of `pixels` pixels and `duration` seconds of sound may take."""
    sound = _BYTES_PER_SECOND_OF_SOUND * ceil(duration)
    return _BYTES_PER_PIXEL * pixels * frames + sound + _HEADER_BYTES


def run(
    arguments: Sequence[str],
    action: str,
    machine: Machine,
    timeout: float,
    *,
    max_bytes: int = 0,
    duration: Fraction = Fraction(0),
) -> None:
    """Run ffmpeg with `arguments`; `action` describes the run in error messages.

    It is killed after `machine.ffmpeg_timeout` seconds if that is set, else after `timeout`. No
    file that it writes may grow beyond `max_bytes` or 64 MiB, whichever is more. It reads only
    files, and only in clipflow's intermediate formats. Progress is reported if `duration`, the
    output's length in seconds, is given.

    Raises MediaRefusedError if ffmpeg fails on its input or writes too much,
    MediaInterruptedError if another process kills it, DeadlineExceededError at the timeout and
    DiskFullError. No process of its group is left in any case.
    """
    timeout = machine.ffmpeg_timeout or timeout
    limit = max(max_bytes, _MIN_FILE_LIMIT)
    command = [*_LIMIT_FILE_SIZE, str(-(-limit // _BLOCK)), *_die_with_parent()]
    command += [executable(machine.ffmpeg), "-nostdin", "-hide_banner", "-loglevel", "warning"]
    inputs, outputs = _input_and_output_paths(arguments)
    tracing = span(f"ffmpeg {action.split()[0]}")
    with (
        tempfile.TemporaryFile() as log,
        ffmpeg_progress(duration) as progress,
        tracing as work,
    ):
        # A process group of its own, so that whatever ffmpeg starts can be killed with it.
        process = subprocess.Popen(
            [*command, "-y", *progress.arguments, *confine_inputs(arguments)],
            stdin=subprocess.DEVNULL,
            stdout=progress.output,
            stderr=log,
            process_group=0,
        )
        try:
            status = _wait(process, timeout, progress.read)
        except subprocess.TimeoutExpired:
            raise DeadlineExceededError(
                f"{action}: ffmpeg did not end within {timeout:.0f} s and was killed.",
                "If the input is long, raise CLIPFLOW_FFMPEG_DEADLINE_SECONDS.",
            ) from None
        finally:
            _kill_group(process)
            work.bytes_read, work.bytes_written = _total_size(inputs), _total_size(outputs)
        if status:
            raise _error(action, status, _tail(log), limit)


def confine_inputs(arguments: Sequence[str]) -> list[str]:
    """`arguments` with each input confined to files in clipflow's intermediate formats."""
    return [
        part for word in arguments for part in ((*_INPUT_LIMITS, word) if word == "-i" else (word,))
    ]


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        _reap(process, 0)


def _wait(process: subprocess.Popen[bytes], timeout: float, poll: Callable[[], None]) -> int:
    """The exit status of `process`; calls `poll` while it runs.

    Raises TimeoutExpired if it runs longer than `timeout` seconds.
    """
    end, pause = time.monotonic() + timeout, 0.0005
    while not _reap(process, os.WNOHANG):
        rest = end - time.monotonic()
        if rest <= 0:
            raise subprocess.TimeoutExpired(process.args, timeout)
        pause = min(2 * pause, rest, 0.05)
        time.sleep(pause)
        poll()
    return process.returncode


def _reap(process: subprocess.Popen[bytes], options: int) -> bool:
    """Whether the process has ended. Records its CPU time, which Popen's own wait discards."""
    pid, status, usage = os.wait4(process.pid, options)
    if pid:
        process.returncode = os.waitstatus_to_exitcode(status)
        add_cpu_seconds(usage.ru_utime + usage.ru_stime)
    return bool(pid)


def _input_and_output_paths(arguments: Sequence[str]) -> tuple[set[str], set[str]]:
    """The paths in a command: its inputs, and its outputs."""
    inputs = {word for before, word in pairwise(arguments) if before == "-i"}
    return inputs, {word for word in arguments if word.startswith("/")} - inputs


def _total_size(paths: Iterable[str]) -> int:
    return sum(Path(path).stat().st_size for path in paths if Path(path).is_file())


def _error(action: str, status: int, log: str, limit: int) -> ClipflowError:
    if status == -signal.SIGXFSZ:
        return MediaRefusedError(
            f"{action}: ffmpeg wrote more than {limit >> 20} MiB, and was stopped.",
            "A valid span is never this large: check the source's times and size.",
        )
    if -status in CRASH_SIGNALS:
        return MediaRefusedError(
            f"{action}: ffmpeg crashed ({signal.Signals(-status).name}). {log}",
            "The source's content makes it fail: re-encode it with another program.",
        )
    # ffmpeg exits with 255 on SIGTERM and SIGINT; a negative status is a signal it cannot handle.
    if status < 0 or status == 255:
        return MediaInterruptedError(f"{action}: another process stopped ffmpeg ({status}). {log}")
    if "No space left on device" in log:
        return DiskFullError(f"{action}: the disk is full.", "Give the worker more disk space.")
    return MediaRefusedError(
        f"{action}: ffmpeg failed ({status}): {log}",
        "Check that the source plays. The message is ffmpeg's.",
    )


def _tail(log: IO[bytes]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _TAIL_BYTES))
    return " | ".join(log.read().decode(errors="replace").split("\n")).strip(" |")


@cache
def _die_with_parent() -> tuple[str, ...]:
    # A process that is killed by SIGKILL cannot stop its ffmpeg, so on Linux the kernel does it.
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL") if setpriv else ()


def seconds_written(text: bytes) -> float | None:
    """Seconds of output by the last progress report in `text`; None if there is none."""
    found = _OUT_TIME.findall(text)
    return int(found[-1]) / 1e6 if found else None


class NullProgress:
    """Progress of a run without an observer: ffmpeg does not report any."""

    arguments: Sequence[str] = ()
    output: int = subprocess.DEVNULL

    def read(self) -> None:
        """Do nothing: there is no progress to read."""


@dataclass
class FfmpegProgress(NullProgress):
    """Reports the share that is written of an output that is `duration` seconds long."""

    duration: float
    pipe: int
    output: int
    arguments: Sequence[str] = _PROGRESS_ARGUMENTS
    _line: bytes = field(default=b"")

    def read(self) -> None:
        """Report what ffmpeg has written since the last call. Does not block."""
        try:
            text = self._line + os.read(self.pipe, _READ_BYTES)
        except BlockingIOError:
            return
        lines, _, self._line = text.rpartition(b"\n")
        seconds = seconds_written(lines)
        if seconds is not None:
            report(seconds / self.duration)


@contextmanager
def ffmpeg_progress(duration: Fraction) -> Iterator[NullProgress]:
    """Progress of a run whose output is `duration` seconds long, 0 for unknown."""
    if not (duration and is_observed()):
        yield NullProgress()
        return
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        yield FfmpegProgress(float(duration), reading, writing)
    finally:
        os.close(reading)
        os.close(writing)
