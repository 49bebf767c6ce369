"""What this process may use of the machine it is on."""

import os
from pathlib import Path

# Pixels: the largest frame of H.264's highest level (table A-1). A decoder's memory goes by what a
# header says, which may be anything.
LARGEST_PICTURE = 139_264 * 256
# Where Linux says what a container may use (cgroup v2); `max` is no limit.
_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def cores() -> int:
    """Those it is allowed to run on, where the system tells, else those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Bytes that it and the processes it starts may take: its container's, else the machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    said = _CONTAINER.read_text().strip() if _CONTAINER.exists() else "max"
    return min(machine, int(said)) if said.isdigit() else machine
