"""The results of the simulation, for the page, the plot and the findings."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.measure import Finding
from benchmarks.simulation import document
from benchmarks.simulation.jobs import DAY, Clip, Outcome, SimulatedJob, busy_day, simulate
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices
from benchmarks.simulation.world import machines

WITH_POLLS = "Prefect API, including polls of children"


@dataclass(frozen=True)
class Limit:
    """A resource: `needed` by one job, of `there` per second.

    If it is `hard`, work piles up when it is fully used; otherwise new work only gets slower.
    """

    name: str
    needed: float
    there: float
    hard: bool = True

    def jobs_a_day(self, p: Parameters) -> float:
        """The number of jobs per day at which it is fully used in the busy hours."""
        return self.there / self.needed * DAY / p.peak_factor if self.needed else float("inf")

    def filled(self, jobs_a_day: float, p: Parameters) -> float:
        """The share that is used in the busy hours; 1 is fully used."""
        return jobs_a_day / self.jobs_a_day(p)


def piles_up(job: SimulatedJob, jobs_a_day: float, p: Parameters) -> bool:
    """Whether more work arrives in the busy hours than can be done."""
    return any(limit.hard and limit.filled(jobs_a_day, p) >= 1 for limit in limits(job, p))


def limits(job: SimulatedJob, p: Parameters) -> list[Limit]:
    """The resources in the order in which they are fully used, from a simulation of one job."""
    alone = simulate(job, iter([0.0]), p, seed=1)
    found = [
        Limit(name, needed(alone), there, hard=name != WITH_POLLS)
        for name, there, needed in _all(p)
        if there
    ]
    return sorted(found, key=lambda limit: limit.jobs_a_day(p))


def _all(p: Parameters) -> list[tuple[str, float, Callable[[Outcome], float]]]:
    media = machines()["media"].kind
    return [
        (WITH_POLLS, p.api_cores, lambda one: _calling(one, p) + _looking(one, p)),
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
        ("bridge and SQS", p.bridge_events, lambda one: one.world.consumed.events),
    ]


def _calling(one: Outcome, p: Parameters) -> float:
    runs = sum(one.world.handed.values())
    return runs * (p.start_calls + p.run_calls) * p.call_ms / 1000


def _looking(one: Outcome, p: Parameters) -> float:
    return one.world.looked / p.look_seconds * p.look_ms / 1000


SEGMENTS = (1, 5, 10, 30, 100)
A_DAY = (1, 10, 100, 1000, 10_000)
# Jobs of each kind that are simulated: so many, or fewer where they are of many segments.
MOST, LEAST, MOST_SEGMENTS = 200, 60, 4000
NEXT_SEGMENTS = 10


@dataclass(frozen=True)
class Cell:
    """Clips of so many segments, so many a day: seconds each, dollars each."""

    segments: int
    a_day: int
    middle: float
    late: float
    usd: float
    first: str
    filled: float
    piles_up: bool


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
        piles_up(clip, a_day, p),
    )


def grid(p: Parameters) -> list[Cell]:
    """Every number of segments at every number of clips a day."""
    return [cell(segments, a_day, p) for segments in SEGMENTS for a_day in A_DAY]


def one_alone(job: SimulatedJob, p: Parameters) -> tuple[float, float]:
    """Minutes and dollars of a job: the mean of fifty, each long after the one before."""
    done = simulate(job, (1e6 * n for n in range(50)), p, seed=1)
    return sum(done.seconds) / len(done.seconds) / 60, done.cost(Prices())


@dataclass(frozen=True)
class Way:
    """A way to make the document's video: minutes, dollars."""

    name: str
    minutes: float
    usd: float


def ways(p: Parameters) -> list[Way]:
    """The document's own two, and ours."""
    published, listed = document.USD, document.list_price(Prices())
    return [
        Way("document, one by one", document.ONE_BY_ONE_MINUTES, published),
        Way("document, at once", document.AT_ONCE_MINUTES, published),
        Way("document, at once, at list price", document.AT_ONCE_MINUTES, listed),
        Way("clipflow, without a GPU", *one_alone(document.video(p), p)),
        Way("clipflow, with a GPU", *one_alone(document.video(p, gpu=True), p)),
    ]


def changes(p: Parameters) -> dict[str, Parameters]:
    """Improvements of the first bottlenecks, cumulative."""
    together = replace(p, look_seconds=p.look_seconds * p.children_at_once)
    four = replace(together, api_cores=4)
    quota = replace(four, spot_vcpu=4000, pool_limit=1000)
    return {
        "none": p,
        "a parent polls all its children at once": together,
        "and four server processes": four,
        "and 4 000 vCPU of Spot": quota,
        "and four workers to each pool": replace(quota, worker_runs=4 * p.worker_runs),
    }


def others(p: Parameters) -> dict[str, Parameters]:
    """The assumed parameters, and variants of them that each change one uncertain assumption."""
    return {
        "as assumed": p,
        "cold starts twice as long": replace(p, provisioning=2 * p.provisioning, pull=2 * p.pull),
        "workers look every 2 s": replace(p, worker_poll=2),
        "no gateway endpoint: images by NAT": replace(p, nat_share=1),
        "S3 at a quarter": replace(p, s3_mb=p.s3_mb / 4),
        "transcribes half as fast": replace(
            p,
            transcribe_factor=p.transcribe_factor / 2,
            transcribe_factor_gpu=p.transcribe_factor_gpu / 2,
        ),
        "Spot taken back once an hour": replace(p, spot_losses=1),
    }


def measured(p: Parameters | None = None) -> list[Finding]:
    """The document's video against its time and cost; a clip; and what fills up first."""
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
    minutes, usd = one_alone(Clip(NEXT_SEGMENTS), p)
    first = limits(Clip(NEXT_SEGMENTS), p)[0]
    clip = f"a clip of {NEXT_SEGMENTS} segments"
    return [
        *found,
        Finding("scale/clip-minutes", minutes, None, f"{clip}, ${usd:.4f}"),
        Finding("scale/clips-a-day", first.jobs_a_day(p), None, f"{clip}; then full: {first.name}"),
    ]
