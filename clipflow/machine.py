"""The machine's limits for media work: slots for encoders, and folders with reserved disk space.

Several processes on one machine make segments and shorts at the same time without communicating.
They share a folder of lock files, and each encoder holds one of the locks; the process that uses a
temporary folder locks that folder. The kernel releases a lock when its process ends for any reason,
and the next process that creates a temporary folder removes unlocked ones. A folder's name includes
the number of bytes that its work needs, so that concurrent work does not rely on the same space.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import ENOSPC
from fractions import Fraction
from math import ceil
from pathlib import Path

from clipflow.domain.errors import DiskFullError

# Pixels of the largest frame in H.264's highest level (table A-1). A decoder allocates memory by
# the size in a header, which an attacker can set to any value.
LARGEST_PICTURE = 139_264 * 256
# Bytes of memory for one encoder; ffmpeg takes 600 MB for a 2160p segment.
MEMORY_PER_ENCODER = 700 << 20
# The file with the memory limit of a Linux container (cgroup v2); `max` means no limit.
_CGROUP_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
# Seconds between two checks for a free slot; an encode takes several seconds.
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Machine:
    """The limits and tools for one piece of media work.

    Attributes:
        scratch: the folder for temporary files, shared by all processes of the machine.
        ffmpeg: the path of ffmpeg; None selects one, see `clipflow.media.ffmpeg.executable`.
        ffmpeg_timeout: seconds after which ffmpeg is killed; None depends on the work.
        threads: the threads of one encoder.
        encoders: how many encoders may run on this machine at the same time.
    """

    scratch: Path
    ffmpeg: str | None = None
    ffmpeg_timeout: float | None = None
    threads: int = 1
    encoders: int = 1


def cores() -> int:
    """The number of cores that this process may use; those of the machine if that is unknown."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory for this process and its children: the container's or the machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _CGROUP_MEMORY_LIMIT.read_text().strip() if _CGROUP_MEMORY_LIMIT.exists() else "max"
    return min(machine, int(limit)) if limit.isdigit() else machine


def encoders_at_once(limit: int) -> int:
    """Encoders that cores and memory allow at the same time, at least 1 and at most `limit`."""
    return max(1, min(limit, cores(), memory() // MEMORY_PER_ENCODER))


def lock_folder() -> Path:
    """A folder for this user's lock files, outside any folder that holds work or results."""
    folder = Path(tempfile.gettempdir(), f"clipflow-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def encoder_slot(machine: Machine) -> Iterator[None]:
    """Waits for one of the machine's `machine.encoders` slots, and holds it during the block.

    The slots are shared by all processes and threads of this user with the same scratch folder.
    """
    # The files are never removed, because two processes that wait for the same lock could then lock
    # different files. They are not in the scratch folder, which is empty without work.
    scratch = hashlib.sha256(bytes(machine.scratch.resolve())).hexdigest()[:16]
    folder = lock_folder()
    slots = [folder / f"encoder-{scratch}-{number}.lock" for number in range(machine.encoders)]
    while (lock := _lock_free_slot(slots)) is None:
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        os.close(lock)


def _lock_free_slot(slots: list[Path]) -> int | None:
    """The descriptor of a lock on the first free slot; None if all are taken."""
    for slot in slots:
        lock = os.open(slot, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return lock
    return None


logger = logging.getLogger(__name__)

_PREFIX = "clipflow-work-"
_REMEDY = "Free some space in {}, or set CLIPFLOW_SCRATCH to a folder on a larger disk."
# Bytes that stay free in addition to the expected need.
_RESERVE = 64 << 20
# Seconds between two checks whether other work has released its space.
_DISK_POLL_SECONDS = 0.5
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
        time.sleep(_DISK_POLL_SECONDS)
    folder, lock = made
    try:
        yield folder
    except DiskFullError as error:
        # ffmpeg and libavformat do not say which disk it is.
        raise DiskFullError(error.message, _REMEDY.format(scratch)) from None
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        raise DiskFullError("The disk is full.", _REMEDY.format(scratch)) from None
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
                _REMEDY.format(scratch),
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
    # The work is still running, so files may disappear meanwhile, and the folder if it ends.
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_size
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
