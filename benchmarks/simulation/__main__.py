"""`python -m benchmarks.simulation`: a busy day of jobs, with their times and their bill.

--clips 1000 --segments 5             so many clips a day
--video 60 --shorts 5 --seconds 60    a video of so many minutes; with --gpu, transcribed by one
--set provisioning=30 --set api_cores=4
--page                                docs/scale.md and its plot, as they are now
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.simulation.jobs import Clip, SimulatedJob, Video, busy_day
from benchmarks.simulation.page import PAGE, PLOT, filled
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
    parser.add_argument("--count", type=int, default=200, help="jobs to simulate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", type=_pair)
    parser.add_argument("--page", action="store_true")
    return parser


def _pair(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if unknown({name}):
        raise argparse.ArgumentTypeError(f"{name} is no parameter: see docs/scale.md")
    return name, float(value)


def report(job: SimulatedJob, a_day: float, count: int, p: Parameters, seed: int) -> Iterator[str]:
    """Times, the bill of one job, and how full everything is in the busy hours."""
    done = busy_day(job, a_day, count, p, seed)
    yield f"{job}, {a_day:g} a day, {len(done.seconds)} simulated"
    yield f"  {done.percentile(0.5) / 60:8.1f} minutes in the middle"
    yield f"  {done.percentile(0.95) / 60:8.1f} minutes at the 95th percentile"
    used = done.used()
    for name, usd in bill(used, Prices()).items():
        yield f"  ${usd:.6f} {name} {getattr(used, name):.6g} × ${getattr(Prices(), name):.6g}"
    yield f"  ${done.cost(Prices()):.6f} a job, and ${p.standing_usd / a_day:.6f} of standing costs"
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
    """Raises ValueError for numbers that nothing can be simulated with."""
    p = replace(Parameters(), **dict(options.set))
    if options.page:
        # Here, because matplotlib is only there for those who develop.
        from benchmarks.simulation.page import draw

        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), p), encoding="utf-8")
        draw(p, PLOT)
        return
    job: SimulatedJob = Clip(options.segments)
    if min(options.clips, options.count, options.segments, options.shorts, options.seconds) <= 0:
        raise ValueError("Every number has to be more than 0.")
    if options.video:
        job = Video(options.video, options.shorts, options.seconds, options.gpu)
    print("\n".join(report(job, options.clips, options.count, p, options.seed)))


if __name__ == "__main__":
    main()
