"""What the simulation says: the same numbers for the page, the plot and the findings."""

from dataclasses import dataclass, replace

from benchmarks.simulation import document
from benchmarks.simulation.days import Job, busy_day, simulate
from benchmarks.simulation.jobs import Clip
from benchmarks.simulation.limits import limits, piles_up
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices

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


def one_alone(job: Job, p: Parameters) -> tuple[float, float]:
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
    told, listed = document.USD, document.list_price(Prices())
    return [
        Way("document, one by one", document.ONE_BY_ONE_MINUTES, told),
        Way("document, at once", document.AT_ONCE_MINUTES, told),
        Way("document, at once, at list price", document.AT_ONCE_MINUTES, listed),
        Way("clipflow, without a GPU", *one_alone(document.video(p), p)),
        Way("clipflow, with a GPU", *one_alone(document.video(p, gpu=True), p)),
    ]


def changes(p: Parameters) -> dict[str, Parameters]:
    """What may be done about what fills up first, one after the other."""
    together = replace(p, look_seconds=p.look_seconds * p.children_at_once)
    four = replace(together, api_cores=4)
    quota = replace(four, spot_vcpu=4000, pool_limit=1000)
    return {
        "as it is": p,
        "a parent looks once for all its children": together,
        "and four server processes": four,
        "and 4 000 vCPU of Spot": quota,
        "and four workers to each pool": replace(quota, worker_runs=4 * p.worker_runs),
    }


def others(p: Parameters) -> dict[str, Parameters]:
    """What is uncertain or may be different, each by itself."""
    return {
        "as assumed": p,
        "cold starts twice as long": replace(p, provisioning=2 * p.provisioning, pull=2 * p.pull),
        "workers look every 2 s": replace(p, worker_poll=2),
        "no gateway endpoint: images by NAT": replace(p, nat_share=1),
        "S3 at a quarter": replace(p, s3_mb=p.s3_mb / 4),
        "hears half as fast": replace(
            p, hear_factor=p.hear_factor / 2, hear_factor_gpu=p.hear_factor_gpu / 2
        ),
        "Spot taken back once an hour": replace(p, spot_losses=1),
    }
