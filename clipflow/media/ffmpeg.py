"""Runs ffmpeg: which binary, for how long, with what progress, and what its exit means."""

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
from clipflow.machine import LARGEST_PICTURE
from clipflow.settings import limits
from clipflow.telemetry.progress import is_observed, report
from clipflow.telemetry.tracing import add_cpu_seconds, span

# Seconds for ffmpeg: a start, and so many for each second of 1080p at 30 frames.
_START, _EACH = 60.0, 20.0
# Bytes that no encoding of ours exceeds: noise takes less than one for each pixel at our CRF, and
# a second of sound less than two channels of uncompressed samples.
_PIXEL, _SECOND_OF_SOUND, _HEADER = 1, 1 << 18, 1 << 20


def encode_timeout(pixels: int, duration: Fraction) -> float:
    """Seconds that ffmpeg may take for `duration` seconds of a picture of so many pixels."""
    size = max(1.0, pixels / (1920 * 1080))
    given = _START + _EACH * size * float(duration)
    return limits().ffmpeg_deadline_seconds or given


def max_output_bytes(pixels: int, frames: int, duration: Fraction) -> int:
    """Bytes that ffmpeg may write for so many frames, of so many pixels each, and their sound."""
    return _PIXEL * pixels * frames + _SECOND_OF_SOUND * ceil(duration) + _HEADER


# A report twice a second, to ffmpeg's standard output.
_ARGUMENTS = ("-progress", "pipe:1", "-stats_period", "0.5")
# Microseconds of the output that are written; `N/A` before the first.
_WRITTEN = re.compile(rb"^out_time_us=(\d+)$", re.MULTILINE)
_AT_ONCE = 1 << 16


def seconds_written(said: bytes) -> float | None:
    """Of the output, by the last report in `said` that tells; None where none does."""
    written = _WRITTEN.findall(said)
    return int(written[-1]) / 1e6 if written else None


class NullProgress:
    """What a run of ffmpeg takes where nobody wants to know how far it is."""

    arguments: Sequence[str] = ()
    output: int = subprocess.DEVNULL

    def look(self) -> None:
        """Nothing to see."""


@dataclass
class FfmpegProgress(NullProgress):
    """Reports how much is written of an output that will last `lasting` seconds."""

    lasting: float
    reading: int
    output: int
    arguments: Sequence[str] = _ARGUMENTS
    _line: bytes = field(default=b"")

    def look(self) -> None:
        """What ffmpeg has written since the last look; without waiting for it."""
        try:
            said = self._line + os.read(self.reading, _AT_ONCE)
        except BlockingIOError:
            return
        whole, _, self._line = said.rpartition(b"\n")
        written = seconds_written(whole)
        if written is not None:
            report(written / self.lasting)


@contextmanager
def ffmpeg_progress(lasting: Fraction) -> Iterator[NullProgress]:
    """Of an output of so many seconds; for 0, and where nobody listens, nothing is told."""
    if not (lasting and is_observed()):
        yield NullProgress()
        return
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        yield FfmpegProgress(float(lasting), reading, writing)
    finally:
        os.close(reading)
        os.close(writing)


# 5.1 brought `-fps_mode`, without which frame times cannot be kept.
OLDEST = (5, 1)
_VERSION = re.compile(r"ffmpeg version n?(\d+)\.(\d+)")
_TAIL_BYTES = 1200
# What an input of ours may be: no playlist and no list of files, so no file can name another.
_READ = (
    *("-protocol_whitelist", "file", "-format_whitelist", "nut,mov,flac,s16le,lavfi"),
    *("-max_pixels", str(LARGEST_PICTURE)),
)
# What ffmpeg may write where its plan asks for less: its words on stderr count too.
_LEAST_BOUND = 64 << 20
# POSIX counts a file's bound in these; the bound outlives the shell, which becomes ffmpeg.
_BLOCK = 512
_BOUNDED = ("/bin/sh", "-c", 'ulimit -f "$0" 2>/dev/null; exec "$@"')


@cache
def executable() -> str:
    """CLIPFLOW_FFMPEG, else the ffmpeg on the PATH if it is 5.1 or later, else imageio-ffmpeg's."""
    chosen = limits().ffmpeg
    if chosen:
        return chosen
    found = shutil.which("ffmpeg")
    if found and _version(found) >= OLDEST:
        return found
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _version(path: str) -> tuple[int, int]:
    said = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stdout
    match = _VERSION.match(said)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def run(
    arguments: Sequence[str],
    doing: str,
    deadline: float,
    largest: int = 0,
    lasting: Fraction = Fraction(0),
) -> None:
    """Run ffmpeg with `arguments`, for at most `deadline` seconds; `doing` names it in errors.

    No file that it writes may grow beyond `largest` bytes, or 64 MiB where that is less. It reads
    files only, and in our own formats only. Where its output lasts `lasting` seconds, it reports
    how much of it is written.

    Raises MediaRefusedError where ffmpeg gives up on its input or writes too much,
    MediaInterruptedError where it is killed, DeadlineExceededError where it does not end in time;
    its process group is gone in every case.
    """
    bound = max(largest, _LEAST_BOUND)
    command = [*_BOUNDED, str(-(-bound // _BLOCK)), *_leash(), executable()]
    command += ["-nostdin", "-hide_banner", "-loglevel", "warning", "-y"]
    inputs, outputs = _files(arguments)
    told, opened = ffmpeg_progress(lasting), span(f"ffmpeg {doing.split()[0]}")
    with tempfile.TemporaryFile() as said, told as written, opened as work:
        # A group of its own, so that whatever ffmpeg starts can be killed with it.
        process = subprocess.Popen(
            [*command, *written.arguments, *confine_inputs(arguments)],
            stdin=subprocess.DEVNULL,
            stdout=written.output,
            stderr=said,
            process_group=0,
        )
        try:
            status = _ended(process, deadline, written.look)
        except subprocess.TimeoutExpired:
            raise DeadlineExceededError(
                f"{doing}: ffmpeg did not end within {deadline:.0f} s and was killed.",
                "Where the input is long, raise CLIPFLOW_FFMPEG_DEADLINE_SECONDS.",
            ) from None
        finally:
            _kill_group(process)
            work.bytes_read, work.bytes_written = _bytes(inputs), _bytes(outputs)
        if status:
            raise _refusal(doing, status, _tail(said), bound)


def confine_inputs(arguments: Sequence[str]) -> list[str]:
    """`arguments` with each input confined to files in our own formats."""
    return [part for word in arguments for part in ((*_READ, word) if word == "-i" else (word,))]


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        _reap(process, 0)


def _ended(process: subprocess.Popen[bytes], deadline: float, look: Callable[[], None]) -> int:
    """Its status, once it has ended; `look` is called meanwhile.

    Raises TimeoutExpired where that takes too long.
    """
    end, pause = time.monotonic() + deadline, 0.0005
    while not _reap(process, os.WNOHANG):
        rest = end - time.monotonic()
        if rest <= 0:
            raise subprocess.TimeoutExpired(process.args, deadline)
        pause = min(2 * pause, rest, 0.05)
        time.sleep(pause)
        look()
    return process.returncode


def _reap(process: subprocess.Popen[bytes], options: int) -> bool:
    """Whether it is over; what it took of the processor is noted, which Popen's own wait loses."""
    pid, status, usage = os.wait4(process.pid, options)
    if pid:
        process.returncode = os.waitstatus_to_exitcode(status)
        add_cpu_seconds(usage.ru_utime + usage.ru_stime)
    return bool(pid)


def _files(arguments: Sequence[str]) -> tuple[set[str], set[str]]:
    """The paths in a command: what it reads, and what it writes."""
    inputs = {word for before, word in pairwise(arguments) if before == "-i"}
    return inputs, {word for word in arguments if word.startswith("/")} - inputs


def _bytes(paths: Iterable[str]) -> int:
    return sum(Path(path).stat().st_size for path in paths if Path(path).is_file())


def _refusal(doing: str, status: int, said: str, bound: int) -> ClipflowError:
    if status == -signal.SIGXFSZ:
        return MediaRefusedError(
            f"{doing}: ffmpeg wrote more than {bound >> 20} MiB, and was stopped.",
            "No such span takes as much: check the source's times and size.",
        )
    # ffmpeg answers SIGTERM and SIGINT with 255; a negative status is a signal it could not answer.
    if status < 0 or status == 255:
        return MediaInterruptedError(f"{doing}: ffmpeg was stopped from outside ({status}). {said}")
    if "No space left on device" in said:
        return DiskFullError(f"{doing}: the disk is full.", "Give the worker more storage.")
    return MediaRefusedError(
        f"{doing}: ffmpeg failed ({status}): {said}",
        "Check that the source plays; ffmpeg's own words are above.",
    )


def _tail(said: IO[bytes]) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - _TAIL_BYTES))
    return " | ".join(said.read().decode(errors="replace").split("\n")).strip(" |")


@cache
def _leash() -> tuple[str, ...]:
    # A flow killed by SIGKILL cannot stop its ffmpeg, so on Linux the kernel does.
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL") if setpriv else ()
