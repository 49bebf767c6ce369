"""What the runs share: the account's quotas, Prefect, the queue; and how a run gets a machine."""

import random
from collections.abc import Iterator
from math import exp

from benchmarks.simulation.engine import Clock, Gate, Line, Process, TokenBucket
from benchmarks.simulation.machines import SHORTEST_BILLED, Machine, machines
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Usage

# The kind of machine whose pool has a limit.
LIMITED = "media"
_WITHOUT_LIMIT = 1 << 40
# Seconds over which the API's load is a mean, and the most that it counts as.
_LOAD_SECONDS, _HIGHEST_LOAD = 60.0, 0.95


class World:
    """One account and one Prefect server.

    Attributes:
        asked: what jobs used besides machines.
        billed: seconds that are paid for, by kind of machine.
        looked: seconds that parents spent waiting for children, all children together.
        handed: runs handed to a machine, by its kind.
    """

    def __init__(self, p: Parameters, seed: int) -> None:
        self.p, self.clock, self.random = p, Clock(), random.Random(seed)
        self.asked, self.looked = Usage(), 0.0
        self.billed, self.handed = dict[str, float](), dict[str, int]()
        self.pool = Gate(self.clock, int(p.pool_limit) or _WITHOUT_LIMIT)
        quotas = {"FARGATE": p.on_demand_vcpu, "FARGATE_SPOT": p.spot_vcpu}
        self.vcpu = {
            capacity: Gate(self.clock, int(quota), f"vCPU of {capacity}")
            for capacity, quota in quotas.items()
        }
        self.launches = {
            kind: TokenBucket(p.launch_rate, int(p.launch_burst)) for kind in self.vcpu
        }
        self.runtask = TokenBucket(p.runtask_rate, int(p.runtask_rate))
        self.bridge, self.api = Line(1), Line(int(p.api_cores))
        self.workers: dict[str, Line] = {}
        self._waiting, self._load, self._called = 0, 0.0, 0.0

    def call(self, calls: float) -> float:
        """Seconds until Prefect has answered so many calls, one after the other.

        Parents that look at their children wait for the answer before they look again. So they
        never stop other calls; but where they are many, each call is answered after theirs:
        waiting · look = (look_seconds + answer) · what calls leave of the server.
        """
        p, now = self.p, self.clock.now
        work = calls * p.call_ms / 1000
        self._load *= exp((self._called - now) / _LOAD_SECONDS)
        self._load, self._called = self._load + work / _LOAD_SECONDS, now
        left = p.api_cores - min(self._load, _HIGHEST_LOAD * p.api_cores)
        answer = max(0.0, self._waiting * p.look_ms / 1000 / left - p.look_seconds)
        return self.api.wait(now, work) + calls * answer

    def carried(self) -> float:
        """Seconds from an event in the queue to the run it asks for."""
        self.asked += Usage(events=1, queue_requests=3)
        polled = self.random.uniform(0, self.p.bridge_poll)
        taken = self.bridge.wait(self.clock.now, 1 / self.p.bridge_events)
        return polled + taken + self.p.event_seconds

    def child(self, machine: Machine, seconds: float) -> Process:
        """A run that another waits for; on Spot it may be lost, and is then made again."""
        begun = self.clock.now
        self._waiting += 1
        yield self.call(self.p.start_calls)
        left = seconds
        while left:
            spot = machine.capacity == "FARGATE_SPOT" and self.p.spot_losses > 0
            lost = self.random.expovariate(self.p.spot_losses / 3600) if spot else seconds
            yield from self.on(machine, iter([min(seconds, lost)]))
            left = seconds if lost < seconds else 0
        self._waiting -= 1
        self.looked += self.clock.now - begun

    def on(self, machine: Machine, work: Process) -> Process:
        """A run from where it is scheduled to its end: a worker, a machine, its process, `work`."""
        p, limited = self.p, machine.kind == LIMITED
        yield self.random.uniform(0, p.worker_poll)
        if limited:
            yield self.pool.take()
        gate = self.vcpu.get(machine.capacity)
        if gate:
            yield gate.take(int(machine.vcpu))
        yield self._handed_over(machine)
        slower = exp(self.random.gauss(0, p.cold_start_spread))
        yield (p.provisioning if gate else p.gpu_launch) * slower
        begun = self.clock.now
        yield p.pull * slower + p.process_start
        yield self.call(p.run_calls)
        yield from work
        paid = self.clock.now - begun + (0 if gate else p.gpu_launch + p.gpu_idle)
        self._pay(machine, paid)
        if gate:
            gate.give(int(machine.vcpu))
        if limited:
            self.pool.give()

    def _handed_over(self, machine: Machine) -> float:
        now = self.clock.now
        self.handed[machine.kind] = self.handed.get(machine.kind, 0) + 1
        worker = self.workers.setdefault(machine.kind, Line(1))
        waits = [worker.wait(now, 1 / self.p.worker_runs), self.runtask.wait(now)]
        if machine.capacity in self.launches:
            waits.append(self.launches[machine.capacity].wait(now))
        return max(waits)

    def _pay(self, machine: Machine, seconds: float) -> None:
        billed = max(seconds, SHORTEST_BILLED)
        self.billed[machine.kind] = self.billed.get(machine.kind, 0.0) + billed

    def used(self) -> Usage:
        """All that is paid for so far."""
        runs, used = sum(self.handed.values()), self.asked
        for kind, seconds in self.billed.items():
            used += machines()[kind].used(seconds)
        return used + Usage(
            table_reads=self.looked / self.p.watch_seconds,
            log_gb=runs * self.p.log_kb / 1e6,
            nat_gb=runs * self.p.image_gb * self.p.nat_share,
        )


def at_most(clock: Clock, cap: int, parts: Iterator[Process]) -> Process:
    """All `parts`, `cap` of them at a time; ends with the last of them."""
    places = Gate(clock, cap)
    for part in parts:
        yield places.take()
        clock.start(_placed(part, places))
    yield places.take(cap)


def _placed(part: Process, places: Gate) -> Process:
    yield from part
    places.give()
