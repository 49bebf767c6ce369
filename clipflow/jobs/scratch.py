"""Room on disk for one piece of work: asked for before, given back after, also after a crash.

A folder is locked by the process that works in it. The kernel lets the lock go when that process is
gone, however it went; whoever comes next finds the folder unlocked and removes it.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from fractions import Fraction
from math import ceil
from pathlib import Path

from clipflow.domain.errors import DiskFullError
from clipflow.settings import settings

_PREFIX = "clipflow-work-"
_REMEDY = "Free some, or set CLIPFLOW_SCRATCH to a folder on a larger disk."
# Bytes that stay free beyond what a piece of work is thought to need.
_RESERVE = 64 << 20
# About how much an encoded frame takes for each pixel: twice what 1080p does at our CRF. And bytes
# of a second of sound.
_PIXEL_SHARE, _SECOND_OF_SOUND = Fraction(1, 20), 1 << 18
_FRAMES_A_SECOND = 30


@contextmanager
def work_folder(needed: int) -> Iterator[Path]:
    """A new folder in the scratch of the settings, removed when the work in it is over.

    Removes what processes that are gone have left there. Raises DiskFullError where fewer bytes are
    free than are `needed`, and where the disk is full before the work is over.
    """
    root = settings().scratch
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    _refuse_without_room(root, needed)
    folder, lock = _locked_folder(root)
    try:
        yield folder
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        raise DiskFullError(f"The disk of {root} is full.", _REMEDY) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def encoded_bytes(pixels: int, duration: Fraction) -> int:
    """About what a video of `duration` seconds takes, of a picture of so many pixels."""
    frame = pixels * _PIXEL_SHARE
    return ceil(duration * (frame * _FRAMES_A_SECOND + _SECOND_OF_SOUND))


def window_bytes(size: int, whole: Fraction | None, duration: Fraction) -> int:
    """About what `duration` seconds of a file of `size` bytes take, which lasts `whole` seconds."""
    return ceil(size * min(Fraction(1), duration / whole)) if whole else size


def _refuse_without_room(root: Path, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if free < needed + _RESERVE:
        raise DiskFullError(
            f"The work needs about {_megabytes(needed + _RESERVE)}, and {root} has "
            f"{_megabytes(free)} free.",
            _REMEDY,
        )


def _megabytes(count: int) -> str:
    return f"{-(-count // 10**6)} MB"


def _locked_folder(root: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        # Before it is locked another process may take it for one that was left, and remove it.
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _sweep(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        # Somebody else's, a link, or gone by now: not ours to remove.
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
