"""Whole days of clips, by ECS tasks and on warm machines; and what a million clips a day need."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import takewhile
from math import ceil

from benchmarks.simulation import document, standing
from benchmarks.simulation.jobs import DAY, Clip, Outcome, arrivals, busy_day, simulate
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import PLANS, Plan, Prices, Usage, bill, cost
from benchmarks.simulation.results import LEAST, WITH_POLLS, large_model, limits, mean_job, spaced

CLIPS_A_DAY = (1, 100, 10_000)
SIZES = (5, 10)
# Simulated days: enough clips for a 95th percentile, and few enough to be simulated in seconds.
_DAYS = {1: 40, 100: 3, 10_000: 1}


@dataclass(frozen=True)
class Day:
    """Clips of one size, at a number a day.

    Attributes:
        name: the way in which they are made.
        median: median of the seconds that a clip takes.
        percentile_95: their 95th percentile.
        usd: mean cost of a clip, with warm machines that wait.
        most: the most warm machines at once.
    """

    segments: int
    a_day: int
    name: str
    median: float
    percentile_95: float
    usd: float
    most: int


def ways(p: Parameters) -> dict[str, tuple[Parameters, Clip]]:
    """The ways to make a clip on ECS, by name: parameters, and a clip without its size."""
    return {
        "tasks": (p, Clip(0)),
        "warm, 0-40": (replace(p, warm_least=0), Clip(0, "warm")),
        "warm, 1-40": (p, Clip(0, "warm")),
    }


def days(p: Parameters) -> Iterator[Day]:
    """Every number of clips a day, in each way and size."""
    for a_day in CLIPS_A_DAY:
        for segments in SIZES:
            for name, (changed, clip) in ways(p).items():
                yield day(replace(clip, segments=segments), a_day, name, changed)


@cache
def day(clip: Clip, a_day: int, name: str, p: Parameters, seed: int = 1) -> Day:
    """Such clips, with the warm machines that wait at night."""
    done, count = whole_days(clip, a_day, p, seed)
    most = done.world.warm.most if done.world.has_warm else 0
    return Day(
        clip.segments,
        a_day,
        name,
        done.percentile(0.5),
        done.percentile(0.95),
        cost(done.world.used(), Prices()) / count,
        most,
    )


def whole_days(clip: Clip, a_day: int, p: Parameters, seed: int = 1) -> tuple[Outcome, int]:
    """The outcome of some days, and the number of clips. If no machine waits, only some clips."""
    if clip.way == "tasks":
        return busy_day(clip, a_day, LEAST, p, seed), LEAST
    end = _DAYS.get(a_day, 1) * DAY
    times = list(takewhile(lambda time: time < end, arrivals(a_day, p, seed)))
    done = simulate(clip, iter(times), p, seed)
    if done.world.env.now < end:
        done.world.env.run(until=end)
    return done, len(times)


def brief_segments(p: Parameters) -> Parameters:
    """The parameters with segments of three seconds, which one core cuts."""
    return replace(p, segment_seconds=3, extract_cpu=p.brief_cpu, extract_wall=p.brief_cpu)


def machine_usd(p: Parameters) -> float:
    """US dollars a day of one warm machine."""
    spot, on_demand = 1 - p.warm_on_demand, p.warm_on_demand
    used = Usage(
        fargate_vcpu=on_demand * p.warm_vcpu,
        fargate_gb=on_demand * p.warm_gb,
        spot_vcpu=spot * p.warm_vcpu,
        spot_gb=spot * p.warm_gb,
        disk_gb=max(0.0, p.warm_disk_gb - 20),
    )
    return cost(used * DAY, Prices())


@dataclass(frozen=True)
class Target:
    """A target, what the simulation finds, and whether it is met."""

    what: str
    target: str
    found: str
    is_met: bool


def targets(p: Parameters) -> Iterator[Target]:
    """The targets that only a simulation can check, and their results."""
    warm = Clip(5, "warm")
    [seconds] = simulate(warm, iter([0.0]), replace(p, bridge_poll=0), seed=1).seconds
    what = "clip of 5 × 45 s on a warm machine"
    yield Target(f"{what}, at rest", "60 s", f"{seconds:.0f} s", seconds <= 60)
    for a_day in _TARGET_DAYS:
        usd = day(warm, a_day, "", p).usd
        yield Target(f"{what}, {spaced(a_day)} a day", "$0.004", f"${usd:.4f}", usd <= 0.004)
    brief, what = brief_segments(p), "ten segments of 3 s"
    usd = mean_job(Clip(10), brief)[1]
    yield Target(f"{what}, tasks", "$0.0015", f"${usd:.4f}", usd <= 0.0015)
    for a_day in _TARGET_DAYS:
        usd = day(Clip(10, "warm"), a_day, "", brief).usd
        found = f"${usd:.4f}"
        yield Target(f"{what}, warm, {spaced(a_day)} a day", "$0.0015", found, usd <= 0.0015)
    for name, changed in {"`base`": p, "`large-v3`": large_model(p)}.items():
        minutes, usd = mean_job(document.video(p), changed)
        yield Target(
            f"the document's video without a GPU, the model {name}",
            "9 min, $0.30",
            f"{minutes:.1f} min, ${usd:.2f}",
            minutes <= 9 and usd <= 0.30,
        )
    for name, clip in {"tasks": Clip(10), "warm": Clip(10, "warm")}.items():
        clips = server_clips(clip, p)
        what = f"clips of ten segments a day by one process of Prefect's server, {name}"
        yield Target(what, "30 000", spaced(clips), round(clips) >= 30_000)


def server_clips(clip: Clip, p: Parameters) -> float:
    """The clips a day that fill one Prefect server in the busy hours."""
    found = {limit.name: limit for limit in limits(clip, p)}
    return found[WITH_POLLS].jobs_a_day(p)


_TARGET_DAYS = (1000, 3000, 10_000)
MILLION = 1_000_000
# The queue is simulated at this part of a million clips, on this part of the machines.
_PART = 0.01


def million(p: Parameters, segments: int = 10) -> Iterator[tuple[str, str]]:
    """What a million clips a day need, with segments from a queue and runs for few of them."""
    clip = Clip(segments, "queue")
    alone = simulate(clip, iter([0.0]), replace(p, warm_least=1, warm_most=1), seed=1)
    cores = alone.world.warm.core_seconds * MILLION / DAY
    mean, peak = (ceil(cores * x / p.queue_busy / p.warm_vcpu) for x in (1, p.peak_factor))
    fixed = replace(p, warm_least=ceil(peak * _PART), warm_most=ceil(peak * _PART))
    times = takewhile(lambda t: t < 7200, arrivals(MILLION * _PART, fixed, 1))
    done = simulate(clip, times, fixed, seed=1)
    each = alone.world.consumed
    at_peak = MILLION / DAY * p.peak_factor
    machines_usd = mean * machine_usd(p)
    rest_usd = MILLION * cost(each, Prices())
    one_server = server_clips(Clip(segments, "warm"), p)
    yield "events a second in the busy hours", f"{at_peak:.0f}"
    yield (
        f"machines of {p.warm_vcpu:g} vCPU: mean, busy hours",
        f"{spaced(mean)}, {spaced(peak)}",
    )
    yield "vCPU, of the quotas of Fargate together", spaced(peak * p.warm_vcpu)
    yield (
        "minutes a clip: median / 95th percentile",
        (f"{done.percentile(0.5) / 60:.1f} / {done.percentile(0.95) / 60:.1f}"),
    )
    puts, gets = each.s3_puts * at_peak, each.s3_gets * at_peak
    yield "S3 PUT, GET a second", f"{spaced(puts)}, {spaced(gets)}"
    yield "writes a second to DynamoDB", spaced(p.table_writes * at_peak)
    yield (
        "calls a second to Prefect, for one clip in a hundred",
        (f"{MILLION * p.looked_at * 2 * (p.start_calls + p.run_calls) / DAY * p.peak_factor:.0f}"),
    )
    yield "Prefect servers, if each clip had its runs", f"{MILLION / one_server:.0f}"
    yield "$ a day: machines", spaced(machines_usd)
    for name, usd in bill(each * MILLION, Prices()).items():
        if usd >= 1:
            yield f"$ a day: `{name}`", spaced(usd)
    yield "$ a clip", f"{(machines_usd + rest_usd) / MILLION:.4f}"


def plans(p: Parameters, segments: int = 10) -> Iterator[tuple[Plan, float, float]]:
    """Prefect Cloud's plans, each with the clips a day that its limit of requests allows, by tasks
    and on warm machines."""
    for plan in PLANS:
        found = []
        for way, clip in (("tasks", Clip(segments)), ("warm", Clip(segments, "warm"))):
            alone = simulate(clip, iter([0.0]), p, seed=1).world
            calls = alone.calls + alone.reads + alone.polled / p.poll_seconds
            idle = p.idle_requests + (p.warm_requests if way == "warm" else 0)
            left = max(0.0, plan.requests - idle)
            found.append(left / calls * 60 * 24 / p.peak_factor)
        yield plan, found[0], found[1]


def standing_usd(own_server: bool) -> float:
    """US dollars a day of an installation while nothing runs."""
    parts = [*standing.parts(), *(standing.server() if own_server else ())]
    return float(sum(part.usd for part in parts))
