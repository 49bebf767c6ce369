"""The steps of clips and videos, and the simulation of jobs that arrive during a day."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Protocol

from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices, Usage, cost
from benchmarks.simulation.world import Process, SimulatedMachine, World, at_most, machines


@dataclass(frozen=True)
class SimulatedStep:
    """So many seconds, of which `used` is what is paid for besides the machine."""

    seconds: float
    used: Usage


def transfer(mb: float, p: Parameters) -> float:
    """Seconds between S3 and one machine."""
    return mb / p.s3_mb


def requests(read_mb: float, written_mb: float, p: Parameters) -> Usage:
    """Of S3; at least one each way."""
    gets = max(1, ceil(read_mb / p.s3_request_mb))
    return Usage(s3_gets=gets, s3_puts=max(1, ceil(written_mb / p.s3_part_mb)))


def media_mb(seconds: float, p: Parameters) -> float:
    return seconds * p.source_mbit / 8


def extract(p: Parameters) -> SimulatedStep:
    """One segment read, cut and put: only its two ends are encoded, however long it is."""
    made = media_mb(p.segment_seconds, p)
    read = made * p.read_factor
    return SimulatedStep(p.extract_wall + transfer(read + made, p), requests(read, made, p))


def stitch(segments: int, p: Parameters) -> SimulatedStep:
    """Every segment read, the sound encoded, the clip put."""
    seconds = segments * p.segment_seconds
    size = media_mb(seconds, p)
    return SimulatedStep(p.stitch_factor * seconds + transfer(2 * size, p), requests(size, size, p))


def render(seconds: float, machine: SimulatedMachine, p: Parameters) -> SimulatedStep:
    """One short of so many seconds: as large a part of the cores is busy as of two."""
    cores = machine.vcpu * p.render_cores / 2
    read, made = media_mb(seconds, p) * p.read_factor, seconds * p.short_mbit / 8
    wall = p.render_cpu * seconds / cores + transfer(read + made, p)
    return SimulatedStep(wall, requests(read, made, p))


def prepare(
    minutes: float, shorts: int, seconds: float, machine: SimulatedMachine, p: Parameters
) -> SimulatedStep:
    """A video of so many minutes transcribed, its moments chosen, a segment of each cut."""
    gpu = machine.capacity == "EC2"
    transcribed = 60 * minutes / (p.transcribe_factor_gpu if gpu else p.transcribe_factor)
    read = media_mb(60 * minutes, p)
    at_once = min(int(p.children_at_once), int(machine.vcpu))
    cut, made = ceil(shorts / at_once) * p.extract_wall, media_mb(shorts * seconds, p)
    moved = transfer(read + made * (1 + p.read_factor), p)
    wall = moved + p.transcribe_start + transcribed + p.choose_seconds + cut
    return SimulatedStep(wall, requests(read + made * p.read_factor, made, p))


@dataclass(frozen=True)
class Clip:
    """So many segments of an episode, requested by an event of its own."""

    segments: int

    def process(self, world: World) -> Process:
        orchestrate = machines()["orchestrate"]
        yield from world.pause(world.carried())
        yield from world.on(orchestrate, _starting(world))
        yield from world.on(orchestrate, self._made(world))

    def _made(self, world: World) -> Process:
        p = world.p
        world.consumed += Usage(table_writes=p.table_writes, table_reads=4)
        yield from _children(world, "media", extract(p), self.segments)
        joined = stitch(self.segments, p)
        world.consumed += joined.used
        yield from world.pause(joined.seconds)


@dataclass(frozen=True)
class Video:
    """A video of so many minutes, and so many shorts; `gpu` is whether a GPU transcribes it."""

    minutes: float
    shorts: int
    seconds: float
    gpu: bool = False

    def process(self, world: World) -> Process:
        yield from world.pause(world.call(world.p.start_calls))
        yield from world.on(machines()["orchestrate"], self._made(world))

    def _made(self, world: World) -> Process:
        p, kind = world.p, "prepare-gpu" if self.gpu else "prepare"
        world.consumed += Usage(table_writes=p.table_writes, table_reads=4)
        prepared = prepare(self.minutes, self.shorts, self.seconds, machines()[kind], p)
        yield from _children(world, kind, prepared, 1)
        made = render(self.seconds, machines()["media"], p)
        yield from _children(world, "media", made, self.shorts)


def _starting(world: World) -> Process:
    yield from world.pause(world.call(world.p.start_calls))


def _children(world: World, kind: str, step: SimulatedStep, count: int) -> Process:
    world.consumed += step.used * count
    machine, cap = machines()[kind], int(world.p.children_at_once)
    parts = (world.child(machine, step.seconds) for _ in range(count))
    yield from at_most(world.env, cap, parts)


DAY, HOUR = 86400.0, 3600.0


class SimulatedJob(Protocol):
    """A request, and the work that it takes."""

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
        """US dollars of one job, on the mean, without costs that do not depend on jobs."""
        return cost(self.used(), prices)


def rate(second: float, jobs_a_day: float, p: Parameters) -> float:
    """Jobs a second at a second of the day, which begins with its busy hours."""
    mean = jobs_a_day / DAY
    if second % DAY < p.busy_hours * HOUR:
        return mean * p.peak_factor
    return mean * (24 - p.peak_factor * p.busy_hours) / (24 - p.busy_hours)


def arrivals(jobs_a_day: float, p: Parameters, seed: int) -> Iterator[float]:
    """When jobs come, without end: independent of each other, and more often in the busy hours.

    Raises ValueError if more than all of a day's jobs would come in its busy hours.
    """
    if not 0 < p.busy_hours < 24 or not 1 <= p.peak_factor <= 24 / p.busy_hours:
        raise ValueError(f"{p.busy_hours} busy hours cannot have {p.peak_factor} times the mean.")
    chance, highest, now = random.Random(seed), rate(0, jobs_a_day, p), 0.0
    while True:
        now += chance.expovariate(highest)
        if chance.random() * highest < rate(now, jobs_a_day, p):
            yield now


def simulate(job: SimulatedJob, times: Iterator[float], p: Parameters, seed: int) -> Outcome:
    """A job at each of the times, all of them to their end.

    Raises ValueError if they wait forever for each other, or for more than there is.
    """
    world, seconds, begun = World(p, seed), list[float](), 0
    for time in times:
        world.env.process(_timed(job, world, seconds, time))
        begun += 1
    world.env.run()
    if len(seconds) < begun:
        raise ValueError(
            f"{begun - len(seconds)} of {begun} jobs wait for each other: raise quotas."
        )
    return Outcome(seconds, world)


def busy_day(
    job: SimulatedJob, jobs_a_day: float, count: int, p: Parameters, seed: int = 1
) -> Outcome:
    """The first `count` jobs from where the busy hours begin, however many days they take."""
    return simulate(job, islice(arrivals(jobs_a_day, p, seed), count), p, seed)


def _timed(job: SimulatedJob, world: World, seconds: list[float], begin: float) -> Process:
    yield from world.pause(begin)
    yield from job.process(world)
    seconds.append(world.env.now - begin)
