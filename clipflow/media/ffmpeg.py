"""The one place that runs ffmpeg: which one, for how long, and what its end means."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from typing import IO

import imageio_ffmpeg

from clipflow.domain.errors import DeadlineExceeded, MediaInterrupted, MediaRefused
from clipflow.settings import limits

# 5.1 brought `-fps_mode`, without which frame times cannot be kept.
OLDEST = (5, 1)
_VERSION = re.compile(r"ffmpeg version n?(\d+)\.(\d+)")
_TAIL_BYTES = 1200


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


def run(arguments: Sequence[str], doing: str, deadline: float) -> None:
    """Run ffmpeg with `arguments`, for at most `deadline` seconds; `doing` names it in errors.

    Raises MediaRefused where ffmpeg gives up on its input, MediaInterrupted where it is killed,
    DeadlineExceeded where it does not end in time; its process group is gone in every case.
    """
    command = [*_leash(), executable(), "-nostdin", "-hide_banner", "-loglevel", "warning", "-y"]
    with tempfile.TemporaryFile() as said:
        # A group of its own, so that whatever ffmpeg starts can be killed with it.
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            process_group=0,
        )
        try:
            status = process.wait(timeout=deadline)
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded(
                f"{doing}: ffmpeg did not end within {deadline:.0f} s and was killed.",
                "Where the input is long, raise CLIPFLOW_FFMPEG_DEADLINE_SECONDS.",
            ) from None
        finally:
            _kill_group(process)
        if status:
            raise _refusal(doing, status, _tail(said))


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _refusal(doing: str, status: int, said: str) -> MediaRefused | MediaInterrupted:
    # ffmpeg answers SIGTERM and SIGINT with 255; a negative status is a signal it could not answer.
    if status < 0 or status == 255:
        return MediaInterrupted(f"{doing}: ffmpeg was stopped from outside ({status}). {said}")
    if "No space left on device" in said:
        return MediaInterrupted(f"{doing}: the disk is full.", "Give the worker more storage.")
    return MediaRefused(
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
