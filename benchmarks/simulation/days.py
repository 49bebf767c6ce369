"""Jobs that come as on a busy day, and what became of them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from benchmarks.simulation.engine import Process
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices, Usage, cost
from benchmarks.simulation.world import World

DAY, HOUR = 86400.0, 3600.0


class Job(Protocol):
    """Something asked for, and what is done for it."""

    def process(self, world: World) -> Process: ...


@dataclass(frozen=True)
class Outcome:
    """What became of jobs: how long each took, in seconds, and the world they leave behind."""

    seconds: list[float]
    world: World

    def percentile(self, part: float) -> float:
        """The time within which so large a part of the jobs was done."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    def used(self) -> Usage:
        """By one job, on the mean."""
        return self.world.used() * (1 / len(self.seconds))

    def cost(self, prices: Prices) -> float:
        """US dollars of one job, on the mean, without what stands whether one comes or not."""
        return cost(self.used(), prices)


def rate(second: float, jobs_a_day: float, p: Parameters) -> float:
    """Jobs a second at a second of the day, which begins with its busy hours."""
    mean = jobs_a_day / DAY
    if second % DAY < p.busy_hours * HOUR:
        return mean * p.peak_factor
    return mean * (24 - p.peak_factor * p.busy_hours) / (24 - p.busy_hours)


def arrivals(jobs_a_day: float, p: Parameters, seed: int) -> Iterator[float]:
    """When jobs come, without end: independent of each other, and more often in the busy hours.

    Raises ValueError where more than all of a day's jobs would come in its busy hours.
    """
    if not 0 < p.busy_hours < 24 or not 1 <= p.peak_factor <= 24 / p.busy_hours:
        raise ValueError(f"{p.busy_hours} busy hours cannot have {p.peak_factor} times the mean.")
    chance, highest, now = random.Random(seed), rate(0, jobs_a_day, p), 0.0
    while True:
        now += chance.expovariate(highest)
        if chance.random() * highest < rate(now, jobs_a_day, p):
            yield now


def simulate(job: Job, times: Iterator[float], p: Parameters, seed: int) -> Outcome:
    """A job at each of the times, all of them to their end.

    Raises ValueError where they wait forever for each other, or for more than there is.
    """
    world, seconds, begun = World(p, seed), list[float](), 0
    for time in times:
        world.clock.start(_timed(job, world, seconds), time)
        begun += 1
    world.clock.run()
    if len(seconds) < begun:
        raise ValueError(
            f"{begun - len(seconds)} of {begun} jobs wait for each other: raise quotas."
        )
    return Outcome(seconds, world)


def busy_day(job: Job, jobs_a_day: float, count: int, p: Parameters, seed: int = 1) -> Outcome:
    """The first `count` jobs from where the busy hours begin, however many days they take."""
    return simulate(job, islice(arrivals(jobs_a_day, p, seed), count), p, seed)


def _timed(job: Job, world: World, seconds: list[float]) -> Process:
    begun = world.clock.now
    yield from job.process(world)
    seconds.append(world.clock.now - begun)
