"""Simulates a busy day of jobs with their times and costs: `python -m benchmarks.simulation`.

--clips 1000 --segments 5                1000 clips of 5 segments per day
--video 60 --shorts 5 --seconds 60       videos of 60 minutes, 5 shorts of 60 s; with --gpu on a GPU
--warm                                   clips on warm machines
--set provisioning=30 --set api_cores=4  other values of parameters
--page                                   updates docs/scale.md, docs/aws.md and the plot
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.simulation.days import standing_usd
from benchmarks.simulation.jobs import Clip, SimulatedJob, Video, busy_day
from benchmarks.simulation.page import PAGES, PLOT, filled
from benchmarks.simulation.parameters import Parameters, unknown
from benchmarks.simulation.prices import Prices, bill
from benchmarks.simulation.results import limits


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clips", type=float, default=100, metavar="A_DAY", help="or videos")
    parser.add_argument("--segments", type=int, default=5)
    parser.add_argument("--video", type=float, metavar="MINUTES")
    parser.add_argument("--shorts", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60, help="of each short")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--warm", action="store_true", help="clips on warm machines")
    parser.add_argument("--count", type=int, default=200, help="jobs to simulate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", type=_pair)
    parser.add_argument("--page", action="store_true")
    return parser


def _pair(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if unknown({name}):
        raise argparse.ArgumentTypeError(f"there is no parameter {name}: see docs/scale.md")
    return name, float(value)


def report(job: SimulatedJob, a_day: float, count: int, p: Parameters, seed: int) -> Iterator[str]:
    """Lines with the times of the jobs, the bill of one job, and the usage of each resource."""
    done = busy_day(job, a_day, count, p, seed)
    yield f"{job}, {a_day:g} a day, {len(done.seconds)} simulated"
    yield f"  {done.percentile(0.5) / 60:8.1f} minutes at the median"
    yield f"  {done.percentile(0.95) / 60:8.1f} minutes at the 95th percentile"
    used = done.used()
    for name, usd in bill(used, Prices()).items():
        yield f"  ${usd:.6f} {name} {getattr(used, name):.6g} × ${getattr(Prices(), name):.6g}"
    standing = standing_usd(own_server=True) / a_day
    yield f"  ${done.cost(Prices()):.6f} a job, and ${standing:.6f} of standing costs"
    for limit in limits(job, p):
        yield f"  {100 * limit.filled(a_day, p):7.1f} % {limit.name}"


def main() -> None:
    parser = arguments()
    options = parser.parse_args()
    try:
        run(options)
    except ValueError as error:
        parser.error(str(error))


def run(options: argparse.Namespace) -> None:
    """Simulate and print, or update the page. Raises ValueError for invalid numbers."""
    p = replace(Parameters(), **dict(options.set))
    if options.page:
        # Imported here, because matplotlib is installed only for development.
        from benchmarks.simulation.page import draw

        for page in PAGES:
            page.write_text(filled(page.read_text(encoding="utf-8"), p), encoding="utf-8")
        draw(p, PLOT)
        return
    job: SimulatedJob = Clip(options.segments, "warm" if options.warm else "tasks")
    if min(options.clips, options.count, options.segments, options.shorts, options.seconds) <= 0:
        raise ValueError("Every number has to be more than 0.")
    if options.video:
        job = Video(options.video, options.shorts, options.seconds, options.gpu)
    print("\n".join(report(job, options.clips, options.count, p, options.seed)))


if __name__ == "__main__":
    main()
