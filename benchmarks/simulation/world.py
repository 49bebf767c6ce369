"""The resources that runs share: machines, quotas, Prefect and the queue; and starting a run."""

import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import cache
from heapq import heapreplace
from math import exp
from typing import Any, TypeAlias

from simpy import Container, Environment, Event

from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Usage
from deployments.work_pools import work_pools

# What a process of SimPy's yields: a timeout, or a request that may have to wait.
Process: TypeAlias = Generator[Event, Any, None]


class Quota:
    """So many units of something. Requests for more than is free wait in their order.

    Attributes:
        size: units in all.
        of: what they are, for messages.
        busy: unit-seconds held so far, up to the last change.
    """

    def __init__(self, env: Environment, size: int, of: str = "units") -> None:
        self.size, self.of, self.busy = size, of, 0.0
        self._env, self._units = env, Container(env, capacity=size, init=size)
        self._held, self._since = 0, 0.0

    @property
    def free(self) -> int:
        """Units that are not held."""
        return self.size - self._held

    def take(self, units: int = 1) -> Process:
        """Wait for `units` and hold them. Raises ValueError for more than there will ever be."""
        if units > self.size:
            raise ValueError(f"{units} of {self.size} {self.of} would be waited for forever.")
        yield self._units.get(units)
        self._hold(units)

    def give(self, units: int = 1) -> None:
        """Give back what its holder took."""
        self._hold(-units)
        self._units.put(units)

    def _hold(self, units: int) -> None:
        now = self._env.now
        self.busy += self._held * (now - self._since)
        self._since = now
        self._held += units


@dataclass
class ServerQueue:
    """Servers that work through requests in their order. The end of each is known when it comes.

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
        heapreplace(self._free_at, begin + work)
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


# Fargate is paid by the second, and a minute at least; 20 GB of disk come with it.
SHORTEST_BILLED = 60.0
FREE_DISK_GB = 20


@dataclass(frozen=True)
class SimulatedMachine:
    """One task's. `capacity` is FARGATE, FARGATE_SPOT or EC2; memory and disk in GB."""

    kind: str
    capacity: str
    vcpu: float
    memory_gb: float
    disk_gb: float

    def used(self, seconds: float) -> Usage:
        """What is paid for a task that is there for so long, its image's pull included."""
        billed = max(seconds, SHORTEST_BILLED)
        if self.capacity == "EC2":
            return Usage(gpu_machine=billed)
        disk = billed * max(0.0, self.disk_gb - FREE_DISK_GB)
        vcpu, memory = billed * self.vcpu, billed * self.memory_gb
        if self.capacity == "FARGATE_SPOT":
            return Usage(spot_vcpu=vcpu, spot_gb=memory, disk_gb=disk)
        return Usage(fargate_vcpu=vcpu, fargate_gb=memory, disk_gb=disk)


@cache
def machines() -> dict[str, SimulatedMachine]:
    """By kind, with the defaults of the product's work pools."""
    pools = {pool.kind: pool for gpu in (False, True) for pool in work_pools(gpu, environment={})}
    return {
        kind: SimulatedMachine(
            kind, pool.launch_type, pool.cpu / 1024, pool.memory / 1024, pool.storage_gib or 0
        )
        for kind, pool in pools.items()
    }


# The kind of machine whose pool has a limit.
LIMITED = "media"
_WITHOUT_LIMIT = 1 << 40
# Seconds over which the API's load is a mean, and the most that it counts as.
_LOAD_SECONDS, _HIGHEST_LOAD = 60.0, 0.95


class World:
    """One account and one Prefect server.

    Attributes:
        consumed: what jobs used besides machines.
        billed: seconds that are paid for, by kind of machine.
        looked: seconds that parents spent waiting for children, all children together.
        handed: runs handed to a machine, by its kind.
    """

    def __init__(self, p: Parameters, seed: int) -> None:
        self.p, self.env, self.random = p, Environment(), random.Random(seed)
        self.consumed, self.looked = Usage(), 0.0
        self.billed, self.handed = dict[str, float](), dict[str, int]()
        self.pool = Quota(self.env, int(p.pool_limit) or _WITHOUT_LIMIT)
        quotas = {"FARGATE": p.on_demand_vcpu, "FARGATE_SPOT": p.spot_vcpu}
        self.vcpu = {
            capacity: Quota(self.env, int(quota), f"vCPU of {capacity}")
            for capacity, quota in quotas.items()
        }
        self.launches = {
            kind: TokenBucket(p.launch_rate, int(p.launch_burst)) for kind in self.vcpu
        }
        self.runtask = TokenBucket(p.runtask_rate, int(p.runtask_rate))
        self.bridge, self.api = ServerQueue(1), ServerQueue(int(p.api_cores))
        self.workers: dict[str, ServerQueue] = {}
        self._waiting, self._load, self._called = 0, 0.0, 0.0

    def call(self, calls: float) -> float:
        """Seconds until Prefect has answered so many calls, one after the other.

        Parents that look at their children wait for the answer before they look again. So they
        never stop other calls; but where they are many, each call is answered after theirs:
        waiting · look = (look_seconds + answer) · what calls leave of the server.
        """
        p, now = self.p, self.env.now
        work = calls * p.call_ms / 1000
        self._load *= exp((self._called - now) / _LOAD_SECONDS)
        self._load, self._called = self._load + work / _LOAD_SECONDS, now
        left = p.api_cores - min(self._load, _HIGHEST_LOAD * p.api_cores)
        answer = max(0.0, self._waiting * p.look_ms / 1000 / left - p.look_seconds)
        return self.api.wait(now, work) + calls * answer

    def carried(self) -> float:
        """Seconds from an event in the queue to the run it requests."""
        self.consumed += Usage(events=1, queue_requests=3)
        polled = self.random.uniform(0, self.p.bridge_poll)
        taken = self.bridge.wait(self.env.now, 1 / self.p.bridge_events)
        return polled + taken + self.p.event_seconds

    def pause(self, seconds: float) -> Process:
        """Let so much time pass."""
        yield self.env.timeout(seconds)

    def child(self, machine: SimulatedMachine, seconds: float) -> Process:
        """A run that another waits for; on Spot it may be lost, and is then made again."""
        begun = self.env.now
        self._waiting += 1
        yield from self.pause(self.call(self.p.start_calls))
        left = seconds
        while left:
            spot = machine.capacity == "FARGATE_SPOT" and self.p.spot_losses > 0
            lost = self.random.expovariate(self.p.spot_losses / 3600) if spot else seconds
            yield from self.on(machine, self.pause(min(seconds, lost)))
            left = seconds if lost < seconds else 0
        self._waiting -= 1
        self.looked += self.env.now - begun

    def on(self, machine: SimulatedMachine, work: Process) -> Process:
        """A run from where it is scheduled to its end: a worker, a machine, its process, `work`."""
        p, limited = self.p, machine.kind == LIMITED
        yield from self.pause(self.random.uniform(0, p.worker_poll))
        if limited:
            yield from self.pool.take()
        quota = self.vcpu.get(machine.capacity)
        if quota:
            yield from quota.take(int(machine.vcpu))
        yield from self.pause(self._handed_over(machine))
        slower = exp(self.random.gauss(0, p.cold_start_spread))
        yield from self.pause((p.provisioning if quota else p.gpu_launch) * slower)
        begun = self.env.now
        yield from self.pause(p.pull * slower + p.process_start)
        yield from self.pause(self.call(p.run_calls))
        yield from work
        paid = self.env.now - begun + (0 if quota else p.gpu_launch + p.gpu_idle)
        self._pay(machine, paid)
        if quota:
            quota.give(int(machine.vcpu))
        if limited:
            self.pool.give()

    def _handed_over(self, machine: SimulatedMachine) -> float:
        now = self.env.now
        self.handed[machine.kind] = self.handed.get(machine.kind, 0) + 1
        worker = self.workers.setdefault(machine.kind, ServerQueue(1))
        waits = [worker.wait(now, 1 / self.p.worker_runs), self.runtask.wait(now)]
        if machine.capacity in self.launches:
            waits.append(self.launches[machine.capacity].wait(now))
        return max(waits)

    def _pay(self, machine: SimulatedMachine, seconds: float) -> None:
        billed = max(seconds, SHORTEST_BILLED)
        self.billed[machine.kind] = self.billed.get(machine.kind, 0.0) + billed

    def used(self) -> Usage:
        """All that is paid for so far."""
        runs, used = sum(self.handed.values()), self.consumed
        for kind, seconds in self.billed.items():
            used += machines()[kind].used(seconds)
        return used + Usage(
            table_reads=self.looked / self.p.watch_seconds,
            log_gb=runs * self.p.log_kb / 1e6,
            nat_gb=runs * self.p.image_gb * self.p.nat_share,
        )


def at_most(env: Environment, cap: int, parts: Iterator[Process]) -> Process:
    """All `parts`, `cap` of them at a time; ends with the last of them."""
    places = Quota(env, cap)
    for part in parts:
        yield from places.take()
        env.process(_placed(part, places))
    yield from places.take(cap)


def _placed(part: Process, places: Quota) -> Process:
    yield from part
    places.give()
