"""The resources that simulated runs share: machines, quotas, workers, Prefect's API, the bridge."""

import random
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import ceil, exp
from typing import Any

from simpy import Environment, Event

from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Usage
from benchmarks.simulation.quotas import FREE_DISK_GB, Process, Quota, ServerQueue, TokenBucket
from benchmarks.simulation.warm import WarmMachine, WarmService
from deployments.work_pools import WorkPool, work_pools
from deployments.work_pools.capacity import SpotDrought
from deployments.work_pools.pools import fargate_memory
from deployments.work_pools.sizes import OWN_MACHINES, window_cpu
from tasks.flow_runs import BEGIN_CLIP_GENERATION

# Fargate is billed by the second, for at least one minute.
SHORTEST_BILLED = 60.0


@dataclass(frozen=True)
class SimulatedMachine:
    """The machine of one ECS task. `capacity` is FARGATE, FARGATE_SPOT or EC2."""

    kind: str
    capacity: str
    vcpu: float
    memory_gb: float
    disk_gb: float

    def used(self, seconds: float) -> Usage:
        """The billed usage of a task that exists for so long, including the pull of its image."""
        billed = max(seconds, SHORTEST_BILLED)
        if self.capacity == "EC2":
            return Usage(gpu_machine=billed)
        disk = billed * max(0.0, self.disk_gb - FREE_DISK_GB)
        vcpu, memory = billed * self.vcpu, billed * self.memory_gb
        if self.capacity == "FARGATE_SPOT":
            return Usage(spot_vcpu=vcpu, spot_gb=memory, disk_gb=disk)
        return Usage(fargate_vcpu=vcpu, fargate_gb=memory, disk_gb=disk)


@cache
def pools() -> dict[str, WorkPool]:
    """clipflow's work pools with their default sizes, by kind."""
    return {pool.kind: pool for gpu in (False, True) for pool in work_pools(gpu, environment={})}


@cache
def machines() -> dict[str, SimulatedMachine]:
    """The machines of the work pools, by kind; and that of the runs that start clips, in the pool
    of kind `orchestrate`."""
    found = {
        kind: SimulatedMachine(
            kind, pool.launch_type, pool.cpu / 1024, pool.memory / 1024, pool.storage_gib or 0
        )
        for kind, pool in pools().items()
    }
    own = OWN_MACHINES[BEGIN_CLIP_GENERATION]
    begin = replace(
        found["orchestrate"],
        vcpu=own["cpu"] / 1024,
        memory_gb=own["memory"] / 1024,
        disk_gb=own["storage_gib"],
    )
    return {**found, "begin": begin}


def window_machine(p: Parameters) -> SimulatedMachine:
    """The machine that transcribes a window, whose size follows from the model and the quota."""
    media = pools()["media"]
    cpu = window_cpu(media, p.speech_estimate, int(p.children_at_once), p.spot_vcpu)
    memory = fargate_memory(cpu, media.memory)
    return replace(machines()["media"], vcpu=cpu / 1024, memory_gb=memory / 1024)


# The kind of machine whose work pool has a concurrency limit.
LIMITED = "media"
_WITHOUT_LIMIT = 1 << 40
# The load of the API is a mean over so many seconds, and counts as at most this share of its cores.
_LOAD_SECONDS, _HIGHEST_LOAD = 60.0, 0.95


class World:
    """One AWS account and one Prefect server.

    Attributes:
        consumed: usage of the jobs without that of machines.
        billed: billed seconds of each machine.
        waited: seconds for which parents waited for children, in total over all children.
        polled: seconds for which parents polled, each for all of its children at once.
        submitted: number of runs submitted to a machine, by its kind.
        calls: calls to Prefect, without those of parents that wait for children.
        reads: reads of children that a parent makes because one of them has ended.
        connected: parents that connected to listen to the ends of children.
        listened: seconds for which runs and waiting parents listened to Prefect's events.
    """

    def __init__(self, p: Parameters, seed: int) -> None:
        self.p, self.env, self.random = p, Environment(), random.Random(seed)
        self.consumed, self.waited, self.polled = Usage(), 0.0, 0.0
        self.billed, self.submitted = dict[SimulatedMachine, float](), dict[str, int]()
        self.pool = Quota(self.env, int(p.pool_limit) or _WITHOUT_LIMIT)
        quotas = {"FARGATE": p.on_demand_vcpu, "FARGATE_SPOT": p.spot_vcpu}
        self.vcpu = {
            capacity: Quota(self.env, int(quota), f"vCPU of {capacity}")
            for capacity, quota in quotas.items()
        }
        self.launches = {
            kind: TokenBucket(p.launch_rate, int(p.launch_burst)) for kind in self.vcpu
        }
        self.runtask = TokenBucket(p.runtask_rate, max(1, int(p.runtask_rate)))
        self.bridge, self.api = ServerQueue(1), ServerQueue(int(p.api_cores))
        self.workers: dict[str, ServerQueue] = {}
        self.drought = SpotDrought(p.spot_timeout)
        self._parents, self._load, self._called = 0, 0.0, 0.0
        self.calls, self.reads, self.connected, self.listened = 0.0, 0, 0, 0.0

    @property
    def has_warm(self) -> bool:
        """Whether a job has used the warm machines."""
        return "warm" in vars(self)

    @cached_property
    def warm(self) -> WarmService:
        """The warm machines, from the first time that a job uses them."""
        return WarmService(self.env, self.p)

    def api_seconds(self, calls: float) -> float:
        """The seconds until Prefect has responded to so many sequential calls.

        Parents that poll their children wait for a response before they poll again, so polling
        never blocks other calls. With many parents, each call waits for their polls: parents · poll
        = (poll_seconds + response) · share of the server that calls leave free.
        """
        p = self.p
        self.calls += calls
        waited = self._api_work(calls * p.call_ms / 1000)
        left = p.api_cores - min(self._load, _HIGHEST_LOAD * p.api_cores)
        answer = max(0.0, self._parents * p.poll_ms / 1000 / left - p.poll_seconds)
        return waited + calls * answer

    def _api_work(self, seconds: float) -> float:
        """The seconds until Prefect has done so many seconds of work."""
        now = self.env.now
        self._load *= exp((self._called - now) / _LOAD_SECONDS)
        self._load, self._called = self._load + seconds / _LOAD_SECONDS, now
        return self.api.wait(now, seconds)

    def event_delay(self) -> float:
        """The seconds from an event in the queue to the run that it requests."""
        self.consumed += Usage(events=1, queue_requests=3)
        polled = self.random.uniform(0, self.p.bridge_poll)
        taken = self.bridge.wait(self.env.now, 1 / self.p.bridge_events)
        return polled + taken + self.p.event_seconds

    def pause(self, seconds: float) -> Process:
        """Let simulated time pass."""
        yield self.env.timeout(seconds)

    @contextmanager
    def polling(self, children: int) -> Iterator[None]:
        """The time in which one parent waits for its children: it listens to their ends, reads
        each, and polls all of them rarely."""
        started = self.env.now
        self._parents += 1
        self.connected += 1
        self._api_work(self.p.listen_ms / 1000)
        yield
        self._parents -= 1
        self.reads += children
        self._api_work(children * self.p.poll_ms / 1000)
        self.polled += self.env.now - started
        self.listened += self.env.now - started

    def parent(self, machine: SimulatedMachine, work: Process) -> Process:
        """A child run that starts other runs itself."""
        started = self.env.now
        yield from self.pause(self.api_seconds(self.p.start_calls))
        yield from self.run_on(machine, work)
        self.waited += self.env.now - started

    def run_warm(self, work: Callable[[WarmMachine], Process]) -> Process:
        """A run on a warm machine, from its scheduling to its end."""
        machine = yield from self.warm.acquire()
        started = self.env.now
        yield from self.pause(self.p.warm_start + self.api_seconds(self.p.run_calls))
        yield from work(machine)
        self.listened += self.env.now - started
        self.warm.release(machine)

    def child(self, machine: SimulatedMachine, seconds: float) -> Process:
        """A child run for which its parent waits. On Spot it may be interrupted and repeated."""
        started = self.env.now
        yield from self.pause(self.api_seconds(self.p.start_calls))
        left = seconds
        while left:
            spot = machine.capacity == "FARGATE_SPOT" and self.p.spot_losses > 0
            lost = self.random.expovariate(self.p.spot_losses / 3600) if spot else seconds
            yield from self.run_on(machine, self.pause(min(seconds, lost)))
            left = seconds if lost < seconds else 0
        self.waited += self.env.now - started

    def run_on(self, machine: SimulatedMachine, work: Process) -> Process:
        """A run from its scheduling to its end: worker, machine, process start, and `work`."""
        p, limited = self.p, machine.kind == LIMITED
        is_begin = machine == machines()["begin"]
        process_start = p.begin_cpu / machine.vcpu if is_begin else p.process_start
        yield from self.pause(self.random.uniform(0, p.worker_poll))
        machine = yield from self._with_capacity(machine)
        if limited:
            yield from self.pool.acquire()
        quota = self.vcpu.get(machine.capacity)
        if quota:
            yield from quota.acquire(ceil(machine.vcpu))
        yield from self.pause(self._launch_delay(machine))
        slower = exp(self.random.gauss(0, p.cold_start_spread))
        yield from self.pause((p.provisioning if quota else p.gpu_launch) * slower)
        started = self.env.now
        yield from self.pause(p.pull * slower + process_start)
        # The observers do not delay the run, but use the same server.
        self.api_seconds(p.observers * p.observer_calls)
        executed = self.env.now
        yield from self.pause(self.api_seconds(p.run_calls))
        yield from work
        self.listened += self.env.now - executed
        paid = self.env.now - started + (0 if quota else p.gpu_launch + p.gpu_idle)
        self._pay(machine, paid)
        if quota:
            quota.release(ceil(machine.vcpu))
        if limited:
            self.pool.release()

    def _with_capacity(self, machine: SimulatedMachine) -> Generator[Event, Any, SimulatedMachine]:
        """The machine on which a run starts once there is one: on demand if Spot has been without
        capacity for long and the quota allows it. A run that waits holds nothing."""
        on_demand, vcpu = self.vcpu["FARGATE"], int(machine.vcpu)
        while machine.capacity == "FARGATE_SPOT" and self.env.now < self.p.spot_away:
            if self.drought.refused(self.env.now) and on_demand.free >= vcpu:
                return replace(machine, capacity="FARGATE")
            yield from self.pause(self.random.uniform(0.5, 1.5) * self.p.capacity_wait)
        return machine

    def _launch_delay(self, machine: SimulatedMachine) -> float:
        now = self.env.now
        self.submitted[machine.kind] = self.submitted.get(machine.kind, 0) + 1
        worker = self.workers.setdefault(machine.kind, ServerQueue(1))
        waits = [worker.wait(now, 1 / self.p.worker_runs), self.runtask.wait(now)]
        if machine.capacity in self.launches:
            waits.append(self.launches[machine.capacity].wait(now))
        return max(waits)

    def _pay(self, machine: SimulatedMachine, seconds: float) -> None:
        billed = max(seconds, SHORTEST_BILLED)
        self.billed[machine] = self.billed.get(machine, 0.0) + billed

    @property
    def runs(self) -> int:
        """The number of runs so far, on tasks and on warm machines."""
        return sum(self.submitted.values()) + (self.warm.taken if self.has_warm else 0)

    def used(self) -> Usage:
        """All billed usage so far."""
        used = self.consumed + (self.warm.used() if self.has_warm else Usage())
        for machine, seconds in self.billed.items():
            used += machine.used(seconds)
        return used + Usage(
            table_reads=self.waited / self.p.owner_check_seconds,
            log_gb=self.runs * self.p.log_kb / 1e6,
            nat_gb=sum(self.submitted.values()) * self.p.image_gb * self.p.nat_share,
        )
