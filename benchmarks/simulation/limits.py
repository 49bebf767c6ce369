"""How many jobs a day fill each thing there is, at the busiest: from what one job needs."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.simulation.days import DAY, Job, Outcome, simulate
from benchmarks.simulation.machines import machines
from benchmarks.simulation.parameters import Parameters

LOOKED = "Prefect API, looks at children too"


@dataclass(frozen=True)
class Limit:
    """`needed` by one job, of `there` a second. Where it is not `hard`, it slows down what comes
    when it is full; else work piles up."""

    name: str
    needed: float
    there: float
    hard: bool = True

    def jobs_a_day(self, p: Parameters) -> float:
        """How many jobs a day need all of it in the busy hours."""
        return self.there / self.needed * DAY / p.peak_factor if self.needed else float("inf")

    def filled(self, jobs_a_day: float, p: Parameters) -> float:
        """The part that is needed in the busy hours; full at 1."""
        return jobs_a_day / self.jobs_a_day(p)


def piles_up(job: Job, jobs_a_day: float, p: Parameters) -> bool:
    """Whether more comes in the busy hours than can be done."""
    return any(limit.hard and limit.filled(jobs_a_day, p) >= 1 for limit in limits(job, p))


def limits(job: Job, p: Parameters) -> list[Limit]:
    """What the job fills first comes first. A job alone tells what it needs."""
    alone = simulate(job, iter([0.0]), p, seed=1)
    found = [
        Limit(name, needed(alone), there, hard=name != LOOKED)
        for name, there, needed in _all(p)
        if there
    ]
    return sorted(found, key=lambda limit: limit.jobs_a_day(p))


def _all(p: Parameters) -> list[tuple[str, float, Callable[[Outcome], float]]]:
    media = machines()["media"].kind
    return [
        (LOOKED, p.api_cores, lambda one: _calling(one, p) + _looking(one, p)),
        ("Prefect API, calls alone", p.api_cores, lambda one: _calling(one, p)),
        ("Spot vCPU quota", p.spot_vcpu, lambda one: one.world.vcpu["FARGATE_SPOT"].busy),
        ("on-demand vCPU quota", p.on_demand_vcpu, lambda one: one.world.vcpu["FARGATE"].busy),
        ("pool limit", p.pool_limit, lambda one: one.world.pool.busy),
        ("RunTask calls", p.runtask_rate, lambda one: one.world.runtask.taken),
        (
            "Spot launches",
            p.launch_rate,
            lambda one: one.world.launches["FARGATE_SPOT"].taken,
        ),
        ("media worker", p.worker_runs, lambda one: one.world.handed.get(media, 0)),
        (
            "orchestrate worker",
            p.worker_runs,
            lambda one: one.world.handed.get("orchestrate", 0),
        ),
        ("bridge and SQS", p.bridge_events, lambda one: one.world.asked.events),
    ]


def _calling(one: Outcome, p: Parameters) -> float:
    runs = sum(one.world.handed.values())
    return runs * (p.start_calls + p.run_calls) * p.call_ms / 1000


def _looking(one: Outcome, p: Parameters) -> float:
    return one.world.looked / p.look_seconds * p.look_ms / 1000
