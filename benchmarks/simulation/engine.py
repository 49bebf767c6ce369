"""Processes on a clock that jumps from event to event.

A process is a generator: it yields the seconds it takes for something, or a `Claim` on what it has
to wait for. Nothing here knows what is simulated.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

Process: TypeAlias = "Iterator[float | Claim]"


class Clock:
    """Seconds since the beginning, and what happens when. Equal times keep their order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Process]] = []
        self._order = count()

    def start(self, process: Process, at: float | None = None) -> None:
        """Let `process` begin `at` a time, which is now unless said."""
        when = self.now if at is None else at
        heapq.heappush(self._due, (when, next(self._order), process))

    def run(self) -> None:
        """Until nothing is due any more."""
        while self._due:
            self.now, _, process = heapq.heappop(self._due)
            for wanted in process:
                if isinstance(wanted, Claim):
                    if wanted.gate.admits(wanted, process):
                        continue
                else:
                    self.start(process, self.now + wanted)
                break


@dataclass(frozen=True)
class Claim:
    """So many units of a gate."""

    gate: "Gate"
    units: int


class Gate:
    """So many units of something; who finds too few waits, and whoever came first goes first.

    Attributes:
        size: units in all.
        of: what they are, for people.
        busy: unit-seconds held so far, up to the last change.
    """

    def __init__(self, clock: Clock, size: int, of: str = "units") -> None:
        self.size, self.of, self.busy = size, of, 0.0
        self._clock, self._free, self._since = clock, size, 0.0
        self._waiting: deque[tuple[Claim, Process]] = deque()

    def take(self, units: int = 1) -> Claim:
        """What a process yields. Raises ValueError for more than there will ever be."""
        if units > self.size:
            raise ValueError(f"{units} of {self.size} {self.of} would be waited for forever.")
        return Claim(self, units)

    def give(self, units: int = 1) -> None:
        """Back, by whoever holds them."""
        self._hold(-units)
        while self._waiting and self._waiting[0][0].units <= self._free:
            claim, process = self._waiting.popleft()
            self._hold(claim.units)
            self._clock.start(process)

    def admits(self, claim: Claim, process: Process) -> bool:
        """Whether the claim is met at once; else the process goes on when it is."""
        if self._waiting or claim.units > self._free:
            self._waiting.append((claim, process))
            return False
        self._hold(claim.units)
        return True

    def _hold(self, units: int) -> None:
        self.busy += (self.size - self._free) * (self._clock.now - self._since)
        self._since = self._clock.now
        self._free -= units


@dataclass
class Line:
    """Servers that work off what comes, in its order. No event is needed: the end is known.

    `busy` counts seconds of work so far.
    """

    servers: int
    busy: float = 0.0
    _free_at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._free_at = [0.0] * self.servers

    def wait(self, now: float, work: float) -> float:
        """Seconds until `work` seconds that come now are done."""
        begin = max(now, self._free_at[0])
        heapq.heapreplace(self._free_at, begin + work)
        self.busy += work
        return begin + work - now


@dataclass
class TokenBucket:
    """At most `burst` at once, and `rate` a second in the long run; full at the beginning."""

    rate: float
    burst: int
    taken: int = 0
    _full_at: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until there is a token for one who comes now, behind all who came before."""
        self.taken += 1
        self._full_at = max(self._full_at, now) + 1 / self.rate
        return max(0.0, self._full_at - self.burst / self.rate - now)
