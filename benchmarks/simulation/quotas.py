"""What simulated runs share and wait for: units, servers, and rates."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from heapq import heapreplace
from typing import Any, TypeAlias

from simpy import Container, Environment, Event

# A process of SimPy. It yields timeouts, and requests that may have to wait.
Process: TypeAlias = Generator[Event, Any, None]


class Quota:
    """A number of units that runs hold for a while. Requests wait in order until units are free.

    Attributes:
        size: number of all units.
        of: name of the units, for messages.
        busy: unit-seconds held up to the last change.
    """

    def __init__(self, env: Environment, size: int, of: str = "units") -> None:
        self.size, self.of, self.busy = size, of, 0.0
        self._env, self._units = env, Container(env, capacity=size, init=size)
        self._held, self._since = 0, 0.0

    @property
    def free(self) -> int:
        """The number of units that are not held."""
        return self.size - self._held

    def acquire(self, units: int = 1) -> Process:
        """Wait for `units` and hold them. Raises ValueError if there are not so many in total."""
        if units > self.size:
            raise ValueError(f"{units} of {self.size} {self.of} would be waited for forever.")
        yield self._units.get(units)
        self._hold(units)

    def release(self, units: int = 1) -> None:
        """Release units that were acquired."""
        self._hold(-units)
        self._units.put(units)

    def _hold(self, units: int) -> None:
        now = self._env.now
        self.busy += self._held * (now - self._since)
        self._since = now
        self._held += units


@dataclass
class ServerQueue:
    """Servers that process requests in order. The end of a request is known when it arrives.

    `busy` is the seconds of work so far.
    """

    servers: int
    busy: float = 0.0
    _free_at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._free_at = [0.0] * self.servers

    def wait(self, now: float, work: float) -> float:
        """The seconds until a request that arrives now and takes `work` seconds is done."""
        begin = max(now, self._free_at[0])
        heapreplace(self._free_at, begin + work)
        self.busy += work
        return begin + work - now


@dataclass
class TokenBucket:
    """A rate limit: at most `burst` at once, and `rate` per second in the long run.

    It is full at the start. `taken` is the number of tokens taken so far.
    """

    rate: float
    burst: int
    taken: int = 0
    _full_at: float = 0.0

    def wait(self, now: float) -> float:
        """The seconds until a request that arrives now gets a token, after all earlier requests."""
        self.taken += 1
        self._full_at = max(self._full_at, now) + 1 / self.rate
        return max(0.0, self._full_at - self.burst / self.rate - now)


def run_limited(env: Environment, cap: int, parts: Iterator[Process]) -> Process:
    """Run all `parts`, at most `cap` at a time; ends when the last one ends."""
    places = Quota(env, cap)
    for part in parts:
        yield from places.acquire()
        env.process(_with_slot(part, places))
    yield from places.acquire(cap)


def _with_slot(part: Process, places: Quota) -> Process:
    yield from part
    places.release()


# Fargate includes so much disk.
FREE_DISK_GB = 20
