"""The steps of clips and videos, and the simulation of jobs that arrive during a day."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Protocol

from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices, Usage, cost
from benchmarks.simulation.world import Process, SimulatedMachine, World, machines, run_limited
from clipflow.jobs.cost import divide


@dataclass(frozen=True)
class SimulatedStep:
    """The duration of a step in seconds, and its billed usage except the machine's."""

    seconds: float
    used: Usage


def transfer(mb: float, p: Parameters) -> float:
    """The seconds that a transfer between S3 and one machine takes."""
    return mb / p.s3_mb


def requests(read_mb: float, written_mb: float, p: Parameters) -> Usage:
    """The requests to S3, at least one GET and one PUT."""
    gets = max(1, ceil(read_mb / p.s3_request_mb))
    return Usage(s3_gets=gets, s3_puts=max(1, ceil(written_mb / p.s3_part_mb)))


def media_mb(seconds: float, p: Parameters) -> float:
    return seconds * p.source_mbit / 8


def extract(segments: int, machine: SimulatedMachine, p: Parameters) -> SimulatedStep:
    """Read, cut and upload segments on one machine, one on each core at a time.

    Only the two ends of a segment are encoded, whatever its length.
    """
    made = media_mb(p.segment_seconds, p)
    read = made * p.read_factor
    waves = ceil(segments / min(machine.vcpu, p.children_at_once))
    # With one core, decoder and encoder do not overlap.
    each = p.extract_wall if machine.vcpu > 1 else max(p.extract_wall, p.extract_cpu)
    wall = waves * each + segments * transfer(read + made, p)
    return SimulatedStep(wall, requests(read, made, p) * segments)


def stitch(segments: int, p: Parameters) -> SimulatedStep:
    """Read every segment, encode the audio, and upload the clip."""
    seconds = segments * p.segment_seconds
    size = media_mb(seconds, p)
    return SimulatedStep(p.stitch_factor * seconds + transfer(2 * size, p), requests(size, size, p))


def render(seconds: float, machine: SimulatedMachine, p: Parameters) -> SimulatedStep:
    """Render one short, with the same share of busy cores as was measured on two cores."""
    cores = machine.vcpu * p.render_cores / 2
    read, made = media_mb(seconds, p) * p.read_factor, seconds * p.short_mbit / 8
    wall = p.render_cpu * seconds / cores + transfer(read + made, p)
    return SimulatedStep(wall, requests(read, made, p))


def prepare(
    minutes: float, shorts: int, seconds: float, machine: SimulatedMachine, p: Parameters
) -> SimulatedStep:
    """Transcribe a video, choose its moments, and cut a segment for each."""
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
    """A clip of some segments of an episode, requested by its own event."""

    segments: int

    def process(self, world: World) -> Process:
        orchestrate = machines()["orchestrate"]
        yield from world.pause(world.event_delay())
        yield from world.run_on(orchestrate, _starting(world))
        yield from world.run_on(orchestrate, self._made(world))

    def _made(self, world: World) -> Process:
        p = world.p
        world.consumed += Usage(table_writes=p.table_writes, table_reads=4)
        costs = [p.extract_cpu] * self.segments
        groups = divide(costs, p.machine_cpu_seconds, int(p.children_at_once))
        if groups:
            cuts = [extract(len(group), machines()["media"], p) for group in groups]
            yield from _children(world, "media", cuts)
        else:
            cut = extract(self.segments, machines()["orchestrate"], p)
            world.consumed += cut.used
            yield from world.pause(cut.seconds)
        joined = stitch(self.segments, p)
        world.consumed += joined.used
        yield from world.pause(joined.seconds)


@dataclass(frozen=True)
class Video:
    """A video of some minutes, and its shorts; `gpu` is whether a GPU transcribes it."""

    minutes: float
    shorts: int
    seconds: float
    gpu: bool = False

    def process(self, world: World) -> Process:
        yield from world.pause(world.api_seconds(world.p.start_calls))
        yield from world.run_on(machines()["orchestrate"], self._made(world))

    def _made(self, world: World) -> Process:
        p, kind = world.p, "prepare-gpu" if self.gpu else "prepare"
        world.consumed += Usage(table_writes=p.table_writes, table_reads=4)
        prepared = prepare(self.minutes, self.shorts, self.seconds, machines()[kind], p)
        yield from _children(world, kind, [prepared])
        made = render(self.seconds, machines()["media"], p)
        yield from _children(world, "media", [made] * self.shorts)


def _starting(world: World) -> Process:
    yield from world.pause(world.api_seconds(world.p.start_calls))


def _children(world: World, kind: str, steps: Sequence[SimulatedStep]) -> Process:
    for step in steps:
        world.consumed += step.used
    machine, cap = machines()[kind], int(world.p.children_at_once)
    parts = (world.child(machine, step.seconds) for step in steps)
    with world.polling():
        yield from run_limited(world.env, cap, parts)


DAY, HOUR = 86400.0, 3600.0


class SimulatedJob(Protocol):
    """A requested job; `process` simulates its work."""

    def process(self, world: World) -> Process: ...


@dataclass(frozen=True)
class Outcome:
    """The results of a simulation: the seconds that each job took, and the state of the world."""

    seconds: list[float]
    world: World

    def percentile(self, part: float) -> float:
        """The seconds within which this share of the jobs was done."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    def used(self) -> Usage:
        """The mean usage of one job."""
        return self.world.used() * (1 / len(self.seconds))

    def cost(self, prices: Prices) -> float:
        """The mean cost of one job in US dollars, without costs that do not depend on jobs."""
        return cost(self.used(), prices)


def rate(second: float, jobs_a_day: float, p: Parameters) -> float:
    """The arrival rate, in jobs per second, at a second of the day, which starts busy."""
    mean = jobs_a_day / DAY
    if second % DAY < p.busy_hours * HOUR:
        return mean * p.peak_factor
    return mean * (24 - p.peak_factor * p.busy_hours) / (24 - p.busy_hours)


def arrivals(jobs_a_day: float, p: Parameters, seed: int) -> Iterator[float]:
    """Endless arrival times of jobs: a Poisson process with a higher rate in the busy hours.

    Raises ValueError if the busy hours would have more jobs than the whole day.
    """
    if not 0 < p.busy_hours < 24 or not 1 <= p.peak_factor <= 24 / p.busy_hours:
        raise ValueError(f"{p.busy_hours} busy hours cannot have {p.peak_factor} times the mean.")
    chance, highest, now = random.Random(seed), rate(0, jobs_a_day, p), 0.0
    while True:
        now += chance.expovariate(highest)
        if chance.random() * highest < rate(now, jobs_a_day, p):
            yield now


def simulate(job: SimulatedJob, times: Iterator[float], p: Parameters, seed: int) -> Outcome:
    """Start a job at each of the times, and simulate until all of them have ended.

    Raises ValueError if jobs wait for each other, or for more than a quota has.
    """
    world, seconds, started = World(p, seed), list[float](), 0
    for time in times:
        world.env.process(_timed(job, world, seconds, time))
        started += 1
    world.env.run()
    if len(seconds) < started:
        raise ValueError(
            f"{started - len(seconds)} of {started} jobs wait for each other: raise quotas."
        )
    return Outcome(seconds, world)


def busy_day(
    job: SimulatedJob, jobs_a_day: float, count: int, p: Parameters, seed: int = 1
) -> Outcome:
    """Simulate the first `count` jobs from the start of the busy hours."""
    return simulate(job, islice(arrivals(jobs_a_day, p, seed), count), p, seed)


def _timed(job: SimulatedJob, world: World, seconds: list[float], begin: float) -> Process:
    yield from world.pause(begin)
    yield from job.process(world)
    seconds.append(world.env.now - begin)
