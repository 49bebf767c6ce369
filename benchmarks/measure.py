"""Measures costs: CPU time of this process and its ended children, wall time, and memory.

Other programs on the machine affect wall time, and hardly affect CPU time. Targets are therefore
about CPU time, and every ratio compares two costs that were measured together.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from clipflow.media.isolation import isolated_cpu_seconds


@dataclass(frozen=True)
class Cost:
    """CPU time, user and system together, and wall time, both in seconds."""

    cpu: float
    wall: float

    def without(self, part: "Cost") -> "Cost":
        return Cost(self.cpu - part.cpu, self.wall - part.wall)

    def __str__(self) -> str:
        return f"{self.cpu:.1f} s CPU, {self.wall:.1f} s wall"


@dataclass(frozen=True)
class Finding:
    """One measured number.

    Attributes:
        name: `topic/what`.
        ratio: the number; a ratio unless the name ends with another unit.
        target: its upper limit; None without a target.
        detail: what the number was computed from, for people.
        holds: whether further conditions of the target are met.
    """

    name: str
    ratio: float
    target: float | None
    detail: str
    holds: bool = True

    @property
    def missed(self) -> bool:
        """Whether there is a target that is not met."""
        return self.target is not None and (self.ratio > self.target or not self.holds)


def cpu_seconds() -> float:
    """CPU time in seconds of this process, of the children for which it has waited, and of the
    calls that clipflow has made in processes of their own."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    waited = sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, who))
    return waited + isolated_cpu_seconds()


def cost(way: Callable[[], object]) -> Cost:
    """The cost of one call."""
    wall, cpu = time.monotonic(), cpu_seconds()
    way()
    return Cost(cpu_seconds() - cpu, time.monotonic() - wall)


def peak_memory_mb() -> float:
    """The peak resident memory of this process, in MB.

    On Linux, `getrusage` includes the memory of the parent at the time of the fork, so the value is
    read from /proc instead.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / 2**20 if sys.platform == "darwin" else largest / 1024


def median_cost(costs: list[Cost]) -> Cost:
    """The median CPU time and the median wall time."""
    return Cost(median(c.cpu for c in costs), median(c.wall for c in costs))


def median_costs(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, Cost]:
    """The median cost of each alternative, by name.

    Each round runs all of them, so that other load on the machine affects all of them.
    """
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(cost(way))
    return {name: median_cost(costs) for name, costs in found.items()}
