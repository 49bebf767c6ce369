"""The steps of clips and videos, and the simulation of jobs that arrive during a day."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Literal, Protocol

from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices, Usage, cost
from benchmarks.simulation.quotas import Process, run_limited
from benchmarks.simulation.warm import WarmMachine
from benchmarks.simulation.world import SimulatedMachine, World, machines, window_machine
from clipflow.jobs.cost import divide
from clipflow.speech.model_cost import window_count


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
    at_once = min(segments, machine.vcpu, p.children_at_once)
    waves = ceil(segments / at_once)
    # Decoder and encoder overlap only while there are cores for both.
    each = max(p.extract_wall, p.extract_cpu * at_once / machine.vcpu)
    wall = waves * each + segments * transfer(read + made, p)
    return SimulatedStep(wall, requests(read, made, p) * segments)


def stitch(segments: int, p: Parameters) -> SimulatedStep:
    """Read every segment, encode the audio, and upload the clip."""
    seconds = segments * p.segment_seconds
    size = media_mb(seconds, p)
    return SimulatedStep(p.stitch_factor * seconds + transfer(2 * size, p), requests(size, size, p))


def render(seconds: float, machine: SimulatedMachine, p: Parameters) -> SimulatedStep:
    """Cut one moment and render its short, with the same share of busy cores as was measured on two
    cores."""
    cores = machine.vcpu * p.render_cores / 2
    segment, short = media_mb(seconds, p), seconds * p.short_mbit / 8
    read, made = 2 * segment * p.read_factor, segment + short
    cut = p.extract_wall * seconds / p.segment_seconds
    wall = cut + p.render_cpu * seconds / cores + transfer(read + made, p)
    return SimulatedStep(wall, requests(read, made, p))


def prepare(minutes: float, machine: SimulatedMachine, p: Parameters) -> SimulatedStep:
    """Transcribe a video with WhisperX, and choose its moments."""
    gpu = machine.capacity == "EC2"
    transcribed = 60 * minutes / (p.transcribe_factor_gpu if gpu else p.transcribe_factor)
    rest = around_speech(minutes, p)
    return SimulatedStep(rest.seconds + p.transcribe_start + transcribed, rest.used)


def around_speech(minutes: float, p: Parameters) -> SimulatedStep:
    """Download a video; when its words are there, choose its moments."""
    read = media_mb(60 * minutes, p)
    return SimulatedStep(transfer(read, p) + p.choose_seconds, requests(read, 0, p))


def window(seconds: float, machine: SimulatedMachine, p: Parameters) -> SimulatedStep:
    """Transcribe a window of the sound with the default model."""
    size = seconds * p.sound_mbit / 8
    wall = seconds * p.speech_cpu / (machine.vcpu * p.speech_cores) + transfer(size, p)
    return SimulatedStep(wall, requests(size, 0, p))


# Where a clip is made: by runs on tasks of ECS, on warm machines, or from a queue without Prefect.
ClipWay = Literal["tasks", "warm", "queue"]


@dataclass(frozen=True)
class Clip:
    """A clip of some segments of an episode, requested by its own event."""

    segments: int
    way: ClipWay = "tasks"

    def process(self, world: World) -> Process:
        if self.way == "queue":
            yield from self._from_queue(world)
            return
        yield from world.pause(world.event_delay())
        if self.way == "warm":
            yield from world.run_warm(lambda _: _starting(world))
            yield from world.run_warm(lambda machine: self._made(world, machine))
        else:
            orchestrate = machines()["orchestrate"]
            yield from world.run_on(machines()["begin"], _starting(world))
            yield from world.run_on(orchestrate, self._made(world))

    def _from_queue(self, world: World) -> Process:
        """A machine takes the clip from SQS. Prefect has runs for some of the clips only."""
        p = world.p
        world.consumed += Usage(events=1, queue_requests=3)
        machine = yield from world.warm.acquire()
        yield from world.pause(p.queue_start)
        world.api_seconds(p.looked_at * 2 * (p.start_calls + p.run_calls))
        yield from self._made(world, machine)
        world.warm.release(machine)

    def _made(self, world: World, machine: WarmMachine | None = None) -> Process:
        p = world.p
        world.consumed += Usage(table_writes=p.table_writes, table_reads=4)
        costs = [p.extract_cpu] * self.segments
        worth = p.warm_cpu_seconds if machine else p.machine_cpu_seconds
        groups = [] if self.way == "queue" else divide(costs, worth, int(p.children_at_once))
        if groups:
            cuts = [extract(len(group), machines()["media"], p) for group in groups]
            yield from _children(world, machines()["media"], cuts)
        elif machine:
            yield from self._cut_warm(world, machine)
        else:
            cut = extract(self.segments, machines()["orchestrate"], p)
            world.consumed += cut.used
            yield from world.pause(cut.seconds)
        joined = stitch(self.segments, p)
        world.consumed += joined.used
        yield from (world.warm.work(machine, joined.seconds) if machine else ())
        if not machine:
            yield from world.pause(joined.seconds)

    def _cut_warm(self, world: World, machine: WarmMachine) -> Process:
        """Cut the segments on the machine's cores, which other runs use too."""
        p = world.p
        one = extract(1, machines()["orchestrate"], p)
        world.consumed += one.used * self.segments
        parts = (world.warm.work(machine, one.seconds) for _ in range(self.segments))
        yield from run_limited(world.env, int(p.warm_vcpu), parts)


@dataclass(frozen=True)
class Video:
    """A video of some minutes, and its shorts.

    `gpu` is whether WhisperX transcribes it on a GPU; otherwise its windows are transcribed on
    machines of the media pool.
    """

    minutes: float
    shorts: int
    seconds: float
    gpu: bool = False

    def process(self, world: World) -> Process:
        yield from world.pause(world.api_seconds(world.p.start_calls))
        yield from world.run_on(machines()["orchestrate"], self._made(world))

    def _made(self, world: World) -> Process:
        p = world.p
        world.consumed += Usage(table_writes=p.table_writes, table_reads=4)
        if self.gpu:
            prepared = prepare(self.minutes, machines()["prepare-gpu"], p)
            yield from _children(world, machines()["prepare-gpu"], [prepared])
        else:
            with world.polling(1):
                yield from world.parent(machines()["prepare"], self._prepared(world))
        made = render(self.seconds, machines()["media"], p)
        yield from _children(world, machines()["media"], [made] * self.shorts)

    def _prepared(self, world: World) -> Process:
        """Prepare the video with the words of its windows, which other machines transcribe."""
        p = world.p
        around = around_speech(self.minutes, p)
        world.consumed += around.used
        yield from world.pause(around.seconds)
        at_once = int(p.children_at_once)
        count = window_count(60 * self.minutes, p.speech_estimate, p.window_seconds, at_once)
        machine = window_machine(p)
        each = window(60 * self.minutes / count, machine, p)
        yield from _children(world, machine, [each] * count)


def _starting(world: World) -> Process:
    yield from world.pause(world.api_seconds(world.p.start_calls))


def _children(world: World, machine: SimulatedMachine, steps: Sequence[SimulatedStep]) -> Process:
    for step in steps:
        world.consumed += step.used
    cap = int(world.p.children_at_once)
    parts = (world.child(machine, step.seconds) for step in steps)
    with world.polling(len(steps)):
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
    world, seconds = World(p, seed), list[float]()
    jobs = [world.env.process(_timed(job, world, seconds, time)) for time in times]
    try:
        world.env.run(until=world.env.all_of(jobs))
    except RuntimeError:  # No event is left before the last of them.
        raise ValueError(
            f"{len(jobs) - len(seconds)} of {len(jobs)} jobs wait for each other: raise quotas."
        ) from None
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
