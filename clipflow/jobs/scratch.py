"""Temporary folders for pieces of work, with disk space reserved, removed also after a crash.

A folder is locked by the process that works in it. The kernel releases the lock when that process
ends, however it ends; the next process that makes a folder finds the old one unlocked and removes
it. The name of a folder says how many bytes its work needs, so that pieces of work that run at the
same time do not count on the same free space.
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
# Bytes that stay free beyond what the work is expected to need.
_RESERVE = 64 << 20
# Seconds between two looks whether other work has given its space back.
_POLL_SECONDS = 0.5
# About how much an encoded frame takes for each pixel: twice what 1080p does at our CRF. And bytes
# of a second of sound.
_PIXEL_SHARE, _SECOND_OF_SOUND = Fraction(1, 20), 1 << 18
_FRAMES_PER_SECOND = 30


@contextmanager
def work_folder(scratch: Path, needed: int) -> Iterator[Path]:
    """A new folder in `scratch` with room for `needed` bytes, removed at the end of the block.

    Removes what processes that are gone have left in `scratch`. Where only the work of others takes
    the room, waits for it to end. Raises DiskFullError where the room is not there without others
    either, and where the disk is full before the block ends.
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
    """About the size of a video of `duration` seconds with frames of `pixels` pixels."""
    frame = pixels * _PIXEL_SHARE
    return ceil(duration * (frame * _FRAMES_PER_SECOND + _SECOND_OF_SOUND))


def window_bytes(size: int, whole: Fraction | None, duration: Fraction) -> int:
    """About the size of `duration` seconds of a file of `size` bytes that lasts `whole` seconds."""
    return ceil(size * min(Fraction(1), duration / whole)) if whole else size


def _reserved_folder(scratch: Path, needed: int) -> tuple[Path, int] | None:
    """A new folder and the descriptor of its lock; None where others have to end first."""
    guard = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # So that two processes do not reserve the same space.
        fcntl.flock(guard, fcntl.LOCK_EX)
        others = _sweep(scratch)
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
        # The work goes on meanwhile, so files come and go.
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def _megabytes(count: int) -> str:
    return f"{-(-count // 10**6)} MB"


def _sweep(scratch: Path) -> list[Path]:
    """Remove the folders that nobody works in, and return the others."""
    others = []
    for folder in scratch.glob(f"{_PREFIX}*"):
        # Another user's, a link, or gone by now: not ours to remove.
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
