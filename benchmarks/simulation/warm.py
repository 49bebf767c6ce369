"""The warm machines of the simulation, and how their number follows the runs that wait."""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from simpy import Environment, Event

from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Usage
from benchmarks.simulation.quotas import FREE_DISK_GB, Process, Quota

# As in infra/warm.yaml: alarms are evaluated every minute; by the number of runs that wait, so many
# machines are added; machines stop one after the other.
_EVALUATED = 60.0
STEPS = ((32, 10), (8, 3), (1, 1))
_COOLDOWN_DOWN = 300.0


@dataclass(eq=False)
class WarmMachine:
    """A machine: its cores, and the number of its runs."""

    cores: Quota
    runs: int = 0


class WarmService:
    """Warm machines, between a least and a most.

    Attributes:
        taken: the number of runs so far.
        core_seconds: the work of cores so far.
        most: the most machines at once so far.
    """

    def __init__(self, env: Environment, p: Parameters) -> None:
        self.env, self.p = env, p
        self.taken, self.core_seconds = 0, 0.0
        self._machines = [self._new() for _ in range(int(p.warm_least))]
        self._waiting = deque[tuple[float, Event]]()
        self._starting, self._seconds, self._since = 0, 0.0, 0.0
        self.most = len(self._machines)
        if p.warm_least < p.warm_most:
            env.process(self._scale())

    def acquire(self) -> Generator[Event, Any, WarmMachine]:
        """Wait for a place on a machine, that with the fewest runs; returns the machine."""
        self.taken += 1
        place = self.env.event()
        self._waiting.append((self.env.now, place))
        self._admit()
        machine: WarmMachine = yield place
        return machine

    def release(self, machine: WarmMachine) -> None:
        """Give the place to the run that has waited for longest."""
        machine.runs -= 1
        self._admit()

    def work(self, machine: WarmMachine, seconds: float) -> Process:
        """Use one core of the machine for so long."""
        yield from machine.cores.acquire()
        yield self.env.timeout(seconds)
        machine.cores.release()
        self.core_seconds += seconds

    def used(self) -> Usage:
        """The billed usage of all machines up to now."""
        self._count()
        p, seconds = self.p, self._seconds
        spot, on_demand = seconds * (1 - p.warm_on_demand), seconds * p.warm_on_demand
        return Usage(
            fargate_vcpu=on_demand * p.warm_vcpu,
            fargate_gb=on_demand * p.warm_gb,
            spot_vcpu=spot * p.warm_vcpu,
            spot_gb=spot * p.warm_gb,
            disk_gb=seconds * max(0.0, p.warm_disk_gb - FREE_DISK_GB),
        )

    def _new(self) -> WarmMachine:
        return WarmMachine(Quota(self.env, int(self.p.warm_vcpu), "cores"))

    def _count(self) -> None:
        """Add up the seconds of machines; call it before their number changes."""
        paid = len(self._machines) + self._starting
        self._seconds += paid * (self.env.now - self._since)
        self._since = self.env.now
        self.most = max(self.most, paid)

    def _admit(self) -> None:
        while self._waiting and self._machines:
            machine = min(self._machines, key=lambda one: one.runs)
            if machine.runs >= self.p.warm_runs:
                return
            machine.runs += 1
            self._waiting.popleft()[1].succeed(machine)

    def _scale(self) -> Process:
        """Evaluate the alarms forever."""
        p, added_at, stopped_at, idle_since = self.p, -1e9, -1e9, self.env.now
        while True:
            yield self.env.timeout(_EVALUATED)
            now = self.env.now
            # The metrics are as old as it takes to measure them.
            before = now - p.warm_wait - p.warm_measured
            waiting = sum(since < before for since, _ in self._waiting)
            if waiting and now - added_at >= p.warm_cooldown:
                added_at = now
                more = next(more for least, more in STEPS if waiting >= least)
                room = int(p.warm_most) - len(self._machines) - self._starting
                for _ in range(min(more, room)):
                    self.env.process(self._launch())
            runs = len(self._waiting) + sum(one.runs for one in self._machines)
            if len(self._machines) <= -(-runs // int(p.warm_runs)):
                idle_since = now
            is_due = now - idle_since >= p.warm_idle and now - stopped_at >= _COOLDOWN_DOWN
            if is_due and len(self._machines) > p.warm_least:
                stopped_at = now
                self._stop()

    def _launch(self) -> Process:
        yield self.env.timeout(self.p.provisioning)
        self._count()
        self._starting += 1
        yield self.env.timeout(self.p.pull + self.p.process_start)
        self._count()
        self._starting -= 1
        self._machines.append(self._new())
        self._admit()

    def _stop(self) -> None:
        """Stop a machine without runs, if there is one; others would drain first."""
        free = [one for one in self._machines if not one.runs]
        if free:
            self._count()
            self._machines.remove(free[-1])
