"""Functions that find and run the programs that are measured, or compared with."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

import imageio_ffmpeg

from clipflow.media.ffmpeg import executable

CORES = 2


def ffmpeg(*arguments: str) -> None:
    """Run the ffmpeg that clipflow uses. Raises CalledProcessError if it fails."""
    run(executable(), "-nostdin", "-v", "error", "-y", *arguments)


def run(*command: str, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run a command and capture its output.

    Raises CalledProcessError if it fails, with the end of its stderr as a note.
    """
    whole = {**os.environ, **(env or {})}
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, env=whole)
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr[-2000:])
        raise


@cache
def ffmpeg_with_vmaf() -> str | None:
    """The path of an ffmpeg that has libvmaf; None if there is none."""
    for program in (executable(), str(imageio_ffmpeg.get_ffmpeg_exe())):
        if " libvmaf " in run(program, "-hide_banner", "-filters").stdout:
            return program
    return None


@cache
def smartcut() -> str | None:
    """The path of PyPI's `smartcut`; None if it is not on the PATH.

    It needs another version of PyAV than clipflow, so it has to be installed in another venv.
    """
    return shutil.which("smartcut")


def cpu_name() -> str:
    """The model name of the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "an unknown processor")
