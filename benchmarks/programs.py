"""The programs that are measured or compared with."""

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
    """Run the product's ffmpeg. Raises CalledProcessError."""
    run(executable(), "-nostdin", "-v", "error", "-y", *arguments)


def run(*command: str, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Its output. Raises CalledProcessError with the end of it as a note."""
    whole = {**os.environ, **(env or {})}
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, env=whole)
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr[-2000:])
        raise


@cache
def with_vmaf() -> str | None:
    """An ffmpeg that has libvmaf, if one is at hand."""
    for program in (executable(), str(imageio_ffmpeg.get_ffmpeg_exe())):
        if " libvmaf " in run(program, "-hide_banner", "-filters").stdout:
            return program
    return None


@cache
def smartcut() -> str | None:
    """PyPI's `smartcut`, if it is installed: it needs another PyAV, so it has its own venv."""
    return shutil.which("smartcut")


def cpu_name() -> str:
    """The processor's own words."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "an unknown processor")
