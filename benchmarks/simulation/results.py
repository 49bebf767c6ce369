"""The results of the simulation, for the page, the plot and the findings."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

from benchmarks.measure import Finding
from benchmarks.simulation import document
from benchmarks.simulation.jobs import DAY, Clip, Outcome, SimulatedJob, busy_day, simulate
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices
from benchmarks.simulation.world import machines
from clipflow.speech.model_cost import cpu_seconds_a_second

WITH_POLLS = "Prefect API, including waiting and events"


@dataclass(frozen=True)
class Limit:
    """A shared resource: the amount that one job needs, and the amount available per second.

    Attributes:
        mutual: what one job a second needs in addition, because of every other job at the time.
        hard: whether work queues up without bound when it is fully used; otherwise jobs only get
            slower.
    """

    name: str
    needed: float
    available: float
    mutual: float = 0
    hard: bool = True

    def jobs_a_day(self, p: Parameters) -> float:
        """The number of jobs per day at which it is fully used in the busy hours."""
        if not self.needed:
            return float("inf")
        # The positive r of needed · r + mutual · r² = available, in a form that allows mutual = 0.
        root = sqrt(self.needed**2 + 4 * self.mutual * self.available)
        return 2 * self.available / (self.needed + root) * DAY / p.peak_factor

    def filled(self, jobs_a_day: float, p: Parameters) -> float:
        """The share that is used in the busy hours; 1 is fully used."""
        rate = jobs_a_day / DAY * p.peak_factor
        return (self.needed * rate + self.mutual * rate**2) / self.available


def overflows(job: SimulatedJob, jobs_a_day: float, p: Parameters) -> bool:
    """Whether more work arrives in the busy hours than can be done."""
    return any(limit.hard and limit.filled(jobs_a_day, p) >= 1 for limit in limits(job, p))


def limits(job: SimulatedJob, p: Parameters) -> list[Limit]:
    """The resources in the order in which they are fully used, from a simulation of one job."""
    alone = simulate(job, iter([0.0]), p, seed=1)
    found = [
        Limit(name, needed(alone), there, _event_seconds(alone, p) * (not hard), hard)
        for name, there, needed in _all(p)
        if there
        for hard in [name != WITH_POLLS]
    ]
    return sorted(found, key=lambda limit: limit.jobs_a_day(p))


def _all(p: Parameters) -> list[tuple[str, float, Callable[[Outcome], float]]]:
    media = machines()["media"].kind
    return [
        (WITH_POLLS, p.api_cores, lambda one: _call_seconds(one, p) + _poll_seconds(one, p)),
        ("Prefect API, calls alone", p.api_cores, lambda one: _call_seconds(one, p)),
        ("Spot vCPU quota", p.spot_vcpu, lambda one: one.world.vcpu["FARGATE_SPOT"].busy),
        ("on-demand vCPU quota", p.on_demand_vcpu, lambda one: one.world.vcpu["FARGATE"].busy),
        ("pool limit", p.pool_limit, lambda one: one.world.pool.busy),
        ("RunTask calls", p.runtask_rate, lambda one: one.world.runtask.taken),
        (
            "Spot launches",
            p.launch_rate,
            lambda one: one.world.launches["FARGATE_SPOT"].taken,
        ),
        ("media worker", p.worker_runs, lambda one: one.world.submitted.get(media, 0)),
        (
            "orchestrate worker",
            p.worker_runs,
            lambda one: one.world.submitted.get("orchestrate", 0),
        ),
        (
            "warm machines",
            p.warm_most * p.warm_vcpu,
            lambda one: one.world.warm.core_seconds if one.world.has_warm else 0.0,
        ),
        ("bridge and SQS", p.bridge_events, lambda one: one.world.consumed.events),
    ]


def _call_seconds(one: Outcome, p: Parameters) -> float:
    return one.world.calls * p.call_ms / 1000


def _poll_seconds(one: Outcome, p: Parameters) -> float:
    world = one.world
    return (world.polled / p.poll_seconds + world.reads) * p.poll_ms / 1000 + (
        world.connected * p.listen_ms / 1000
    )


def _event_seconds(one: Outcome, p: Parameters) -> float:
    """The seconds in which Prefect compares the events of a job with the filters of all who listen
    meanwhile, at one job a second."""
    return one.world.runs * p.run_events * one.world.listened * p.event_ms / 1000


SEGMENTS = (1, 5, 10, 30, 100)
A_DAY = (1, 10, 100, 1000, 10_000)
# Numbers of simulated jobs of each kind; fewer if they have many segments.
MOST, LEAST, MOST_SEGMENTS = 200, 60, 4000
NEXT_SEGMENTS = 10


@dataclass(frozen=True)
class Cell:
    """The results for clips of some number of segments at some number of clips per day.

    Attributes:
        median: median of the seconds that a clip takes.
        percentile_95: their 95th percentile.
        usd: mean cost of a clip.
        first: name of the resource that is fully used first.
        filled: the share of it that is used in the busy hours.
        overflows: whether more work arrives than can be done.
    """

    segments: int
    a_day: int
    median: float
    percentile_95: float
    usd: float
    first: str
    filled: float
    overflows: bool


def cell(segments: int, a_day: int, p: Parameters) -> Cell:
    clip = Clip(segments)
    done = busy_day(clip, a_day, max(LEAST, min(MOST, MOST_SEGMENTS // segments)), p)
    first = limits(clip, p)[0]
    return Cell(
        segments,
        a_day,
        done.percentile(0.5),
        done.percentile(0.95),
        done.cost(Prices()),
        first.name,
        first.filled(a_day, p),
        overflows(clip, a_day, p),
    )


def grid(p: Parameters) -> list[Cell]:
    """The results for every number of segments at every number of clips per day."""
    return [cell(segments, a_day, p) for segments in SEGMENTS for a_day in A_DAY]


def mean_job(job: SimulatedJob, p: Parameters) -> tuple[float, float]:
    """The mean minutes and US dollars of a job, from fifty jobs that do not overlap."""
    done = simulate(job, (1e6 * n for n in range(50)), p, seed=1)
    return sum(done.seconds) / len(done.seconds) / 60, done.cost(Prices())


@dataclass(frozen=True)
class Way:
    """A way to make the reference document's video, with its minutes and US dollars."""

    name: str
    minutes: float
    usd: float


def ways(p: Parameters) -> list[Way]:
    """The two ways of the document, and those of clipflow."""
    published, listed = document.USD, document.list_price(Prices())
    return [
        Way("document, one by one", document.ONE_BY_ONE_MINUTES, published),
        Way("document, at once", document.AT_ONCE_MINUTES, published),
        Way("document, at once, at list price", document.AT_ONCE_MINUTES, listed),
        Way("clipflow, without a GPU", *mean_job(document.video(p), p)),
        Way("clipflow, with a GPU", *mean_job(document.video(p, gpu=True), p)),
    ]


def large_model(p: Parameters) -> Parameters:
    """The parameters with the model that the document's machine is assumed to use, on any CPU."""
    return replace(
        p,
        speech_cpu=document.MACHINE.vcpu / p.transcribe_factor,
        speech_estimate=cpu_seconds_a_second("large-v3"),
        speech_cores=1,
    )


def spaced(number: float) -> str:
    """The rounded number with spaces between thousands."""
    return f"{number:,.0f}".replace(",", " ")


def changes(p: Parameters) -> dict[str, tuple[Parameters, Clip]]:
    """Changes that remove the first bottlenecks, each including the previous ones."""
    tasks, warm = Clip(NEXT_SEGMENTS), Clip(NEXT_SEGMENTS, "warm")
    return {
        "none": (p, tasks),
        "warm machines, at most 40": (p, warm),
        "and at most 160": (replace(p, warm_most=160), warm),
        "and four server processes": (replace(p, warm_most=160, api_cores=4), warm),
    }


def others(p: Parameters) -> dict[str, Parameters]:
    """The parameters, and variants of them that each change one uncertain assumption."""
    return {
        "as assumed": p,
        "cold starts twice as long": replace(p, provisioning=2 * p.provisioning, pull=2 * p.pull),
        "workers poll every 2 s": replace(p, worker_poll=2),
        "the model large-v3": large_model(p),
        "no gateway endpoint: images by NAT": replace(p, nat_share=1),
        "S3 at a quarter": replace(p, s3_mb=p.s3_mb / 4),
        "transcribes half as fast": replace(
            p,
            speech_cpu=2 * p.speech_cpu,
            transcribe_factor=p.transcribe_factor / 2,
            transcribe_factor_gpu=p.transcribe_factor_gpu / 2,
        ),
        "Spot interrupted once an hour": replace(p, spot_losses=1),
    }


def benchmark(p: Parameters | None = None) -> list[Finding]:
    """The document's video compared with its time and cost; a clip; and the first bottleneck."""
    p = p or Parameters()
    listed = document.list_price(Prices())
    *_, plain, gpu = ways(p)
    found = []
    for name, way in (("", plain), ("-gpu", gpu)):
        times = f"{way.minutes:.1f} of {document.AT_ONCE_MINUTES:.0f} minutes"
        paid = f"${way.usd:.2f} of ${document.USD:.2f}; its machines' list price is ${listed:.2f}"
        faster = way.minutes / document.AT_ONCE_MINUTES
        found.append(Finding(f"scale/time-vs-document{name}", faster, 1, times))
        found.append(Finding(f"scale/cost-vs-document{name}", way.usd / document.USD, 1, paid))
    minutes, usd = mean_job(Clip(NEXT_SEGMENTS), p)
    first = limits(Clip(NEXT_SEGMENTS), p)[0]
    clip = f"a clip of {NEXT_SEGMENTS} segments"
    return [
        *found,
        Finding("scale/clip-minutes", minutes, None, f"{clip}, ${usd:.4f}"),
        Finding("scale/clips-a-day", first.jobs_a_day(p), None, f"{clip}; then full: {first.name}"),
    ]
