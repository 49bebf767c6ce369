"""The machine's limits for media work, and the slots that bound its number of encoders.

Several processes on one machine make segments and shorts at the same time without communicating.
They share a folder of lock files, and each encoder holds one of the locks. The kernel releases a
lock when its process ends for any reason, so nothing has to be cleaned up after a crash.
"""

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
