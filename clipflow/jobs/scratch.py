"""Temporary folders with reserved disk space, which are removed even after a crash.

The process that uses a folder locks it. The kernel releases the lock when that process ends for any
reason; the next process that creates a folder removes unlocked ones. A folder's name includes the
number of bytes that its work needs, so that concurrent work does not rely on the same free space.
"""

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from fractions import Fraction
from math import ceil
from pathlib import Path

from clipflow.domain.errors import DiskFullError

logger = logging.getLogger(__name__)

_PREFIX = "clipflow-work-"
_REMEDY = "Free some, or set CLIPFLOW_SCRATCH to a folder on a larger disk."
# Bytes that stay free in addition to the expected need.
_RESERVE = 64 << 20
# Seconds between two checks whether other work has released its space.
_POLL_SECONDS = 0.5
# Estimated bytes of an encoded frame for each pixel, which is twice the average of 1080p at the CRF
# of `encode.py`; and bytes of a second of audio.
_BYTES_PER_PIXEL, _BYTES_PER_SECOND_OF_AUDIO = Fraction(1, 20), 1 << 18
_FRAMES_PER_SECOND = 30


@contextmanager
def work_folder(scratch: Path, needed: int) -> Iterator[Path]:
    """A new folder in `scratch` with `needed` bytes reserved, removed at the end of the block.

    Removes folders of processes that have ended. Waits while other work has reserved the space.
    Raises DiskFullError if the space would not suffice without other work either, and if the
    disk becomes full within the block.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    waiting = False
    while (made := _reserved_folder(scratch, needed)) is None:
        if not waiting:
            logger.info("Waiting for disk space in %s, which other work has reserved.", scratch)
        waiting = True
        time.sleep(_POLL_SECONDS)
    folder, lock = made
    try:
        yield folder
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        raise DiskFullError(f"The disk of {scratch} is full.", _REMEDY) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def encoded_bytes(pixels: int, duration: Fraction) -> int:
    """The estimated bytes of a video of `duration` seconds with frames of `pixels` pixels."""
    frame = pixels * _BYTES_PER_PIXEL
    return ceil(duration * (frame * _FRAMES_PER_SECOND + _BYTES_PER_SECOND_OF_AUDIO))


def window_bytes(size: int, whole: Fraction | None, duration: Fraction) -> int:
    """The estimated bytes of `duration` seconds of a `size`-byte file of `whole` seconds."""
    return ceil(size * min(Fraction(1), duration / whole)) if whole else size


def _reserved_folder(scratch: Path, needed: int) -> tuple[Path, int] | None:
    """A new folder and the descriptor of its lock; None while other work must end first."""
    guard = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Locked, so that two processes do not reserve the same space.
        fcntl.flock(guard, fcntl.LOCK_EX)
        others = _remove_unused(scratch)
        free, wanted = shutil.disk_usage(scratch).free, needed + _RESERVE
        is_reserved = free - sum(map(_outstanding, others)) < wanted
        if others and is_reserved and free + sum(map(_used, others)) >= wanted:
            return None
        if free < wanted:
            raise DiskFullError(
                f"The work needs about {_megabytes(wanted)}, and {scratch} has "
                f"{_megabytes(free)} free.",
                _REMEDY,
            )
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{needed}-", dir=scratch))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return folder, lock
    finally:
        os.close(guard)


def _outstanding(folder: Path) -> int:
    """Bytes that the work in `folder` has reserved and not yet used."""
    reserved = folder.name.removeprefix(_PREFIX).partition("-")[0]
    return max(0, int(reserved) - _used(folder)) if reserved.isdigit() else 0


def _used(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        # The work is still running, so files may disappear meanwhile.
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def _megabytes(count: int) -> str:
    return f"{-(-count // 10**6)} MB"


def _remove_unused(scratch: Path) -> list[Path]:
    """Remove the folders that no process uses, and return the others."""
    others = []
    for folder in scratch.glob(f"{_PREFIX}*"):
        # An error means another user's folder, a link, or a folder that no longer exists.
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            except BlockingIOError:
                others.append(folder)
            finally:
                os.close(lock)
    return others
