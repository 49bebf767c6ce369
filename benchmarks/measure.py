"""Measures costs: processor seconds of this process and its ended children, and wall time.

Other programs on the machine affect wall time, and hardly affect processor time. Targets are
therefore about processor time, and every ratio compares two costs that were measured together.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Cost:
    """Seconds of the processor, user and system together, and of the clock on the wall."""

    processor: float
    wall: float

    def __str__(self) -> str:
        return f"{self.processor:.1f} s CPU, {self.wall:.1f} s wall"


@dataclass(frozen=True)
class Finding:
    """One measured number; `target` is its upper limit, None without a target.

    `name` is `topic/what`; `ratio` is a ratio unless the name has another unit. `holds` is whether
    further conditions of the target are met.
    """

    name: str
    ratio: float
    target: float | None
    detail: str
    holds: bool = True

    @property
    def missed(self) -> bool:
        return self.target is not None and (self.ratio > self.target or not self.holds)


def spent() -> float:
    """Seconds of processor time, of this process and of the children it has waited for."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, who))


def cost(way: Callable[[], object]) -> Cost:
    """The cost of one call."""
    wall, processor = time.monotonic(), spent()
    way()
    return Cost(spent() - processor, time.monotonic() - wall)


def own_peak() -> float:
    """This process's largest resident memory, in MB.

    `getrusage` also knows what its parent had when it was made; Linux reports the process's own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / 2**20 if sys.platform == "darwin" else largest / 1024


def middle(costs: list[Cost]) -> Cost:
    """The median of each number separately."""
    return Cost(median(c.processor for c in costs), median(c.wall for c in costs))


def side_by_side(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, Cost]:
    """The median cost of each way. Every round runs all of them, so that they share its weather."""
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(cost(way))
    return {name: middle(costs) for name, costs in found.items()}
