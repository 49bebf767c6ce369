"""Generates the tables and the plot of docs/scale.md. The text of the page is not generated."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.simulation import days, document
from benchmarks.simulation.days import SIZES
from benchmarks.simulation.jobs import Clip, SimulatedJob, Video, simulate
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices, bill, cost
from benchmarks.simulation.results import (
    A_DAY,
    NEXT_SEGMENTS,
    SEGMENTS,
    Cell,
    Way,
    changes,
    grid,
    limits,
    mean_job,
    others,
    spaced,
    ways,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
# The pages that have tables of the simulation.
PAGES = (PAGE, PAGE.with_name("aws.md"))
PLOT = PAGE.with_name("scale.png")
# The number of jobs a day that fill a resource that they do not need.
_UNLIMITED = "–"
_MADE = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, p: Parameters) -> str:
    """The text of the page with each table replaced by the current results of the simulation.

    Raises KeyError for an unknown table.
    """
    return _MADE.sub(lambda found: found[1] + markdown(rows(found[2], p)) + found[3], text)


def markdown(table: Iterable[tuple[str, ...]]) -> str:
    head, *body = (list(row) for row in table)
    columns = list(zip(*body, strict=True))
    ruled = [head, ["---:" if all(map(_numeric, each)) else "---" for each in columns], *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in ruled)


def _numeric(text: str) -> bool:
    return not text or text[0].isdigit() or text == _UNLIMITED or text.startswith("piles up")


def rows(name: str, p: Parameters) -> Iterator[tuple[str, ...]]:
    """The rows of a table of the page, its header first. Raises KeyError for an unknown table."""
    return {
        "parameters": _parameters,
        "prices": lambda _: _prices(),
        "times": _times,
        "costs": _costs,
        "bill": _bill,
        "limits": _limits,
        "next": _next,
        "document": _document,
        "others": _others,
        "days": _days,
        "targets": _targets,
        "million": _million,
        "plans": _plans,
        "videos": _videos,
        "clips": _clips,
    }[name](p)


def _parameters(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "parameter", "value", "unit", "from"
    for each in fields(p):
        value = f"{getattr(p, each.name):g}"
        yield f"`{each.name}`", value, each.metadata["unit"], each.metadata["source"]


def _prices() -> Iterator[tuple[str, ...]]:
    yield "usage", "$", "of"
    for each in fields(Prices):
        yield f"`{each.name}`", f"{each.metadata['usd']:g}", each.metadata["what"]


def _times(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "segments", *(f"{_number(a_day)} a day" for a_day in A_DAY)
    cells = {(c.segments, c.a_day): c for c in grid(p)}
    for segments in SEGMENTS:
        yield str(segments), *(_time(cells[segments, a_day]) for a_day in A_DAY)


def _time(cell: Cell) -> str:
    times = (
        "piles up" if cell.overflows else f"{cell.median / 60:.1f} / {cell.percentile_95 / 60:.1f}"
    )
    return f"{times} ({100 * cell.filled:.0f} %)"


def _costs(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "segments", "$ a clip", *(f"with standing costs, {_number(n)} a day" for n in A_DAY)
    standing_usd = days.standing_usd(own_server=True)
    for segments in SEGMENTS:
        _, usd = mean_job(Clip(segments), p)
        whole = (f"{usd + standing_usd / a_day:.4f}" for a_day in A_DAY)
        yield str(segments), f"{usd:.4f}", *whole


def _bill(p: Parameters) -> Iterator[tuple[str, ...]]:
    jobs: dict[str, SimulatedJob] = {
        "clip of 5": Clip(5),
        "without a GPU": document.video(p),
        "with a GPU": document.video(p, gpu=True),
    }
    used = [simulate(job, iter([0.0]), replace(p, cold_start_spread=0), 1) for job in jobs.values()]
    yield "usage", *(f"{name}: {unit}" for name in jobs for unit in ("used", "$"))
    bills = [bill(one.used(), Prices()) for one in used]
    for name in bills[0]:
        pairs = ((getattr(o.used(), name), b[name]) for o, b in zip(used, bills, strict=True))
        yield f"`{name}`", *(text for u, usd in pairs for text in (f"{u:.6g}", f"{usd:.6f}"))
    yield "all", *(text for o in used for text in ("", f"{cost(o.used(), Prices()):.6f}"))


def _limits(p: Parameters) -> Iterator[tuple[str, ...]]:
    warm = [Clip(n, "warm") for n in SIZES]
    yield (
        "clips a day that fill",
        *(f"{segments} segments" for segments in SEGMENTS),
        *(f"warm, {clip.segments}" for clip in warm),
    )
    clips = [*(Clip(n) for n in SEGMENTS), *warm]
    found = [{limit.name: limit for limit in limits(clip, p)} for clip in clips]
    for name in found[NEXT_SEGMENTS // 5]:
        days = (limits_of[name].jobs_a_day(p) for limits_of in found)
        yield name, *map(_number, days)


def _next(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "change", "full first", "at clips a day", "then", "at clips a day"
    for name, (changed, clip) in changes(p).items():
        first, second, *_ = limits(clip, changed)
        pairs = ((one.name, _number(one.jobs_a_day(changed))) for one in (first, second))
        yield name, *(text for pair in pairs for text in pair)


def _document(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "way", "minutes", "$ a video", "minutes ÷ 30", "$ ÷ 3.50"
    for way in ways(p):
        faster, cheaper = way.minutes / document.AT_ONCE_MINUTES, way.usd / document.USD
        yield way.name, f"{way.minutes:.1f}", f"{way.usd:.2f}", f"{faster:.2f}", f"{cheaper:.2f}"


def _others(p: Parameters) -> Iterator[tuple[str, ...]]:
    length = document.minutes(p)
    made = (document.SHORTS, document.SHORT_SECONDS)
    jobs: dict[str, SimulatedJob] = {
        "clip of 5": Clip(5),
        "video": Video(length, *made),
        "video, GPU": Video(length, *made, gpu=True),
    }
    yield "if", *(f"{name}: {unit}" for name in jobs for unit in ("minutes", "$"))
    for name, other in others(p).items():
        found = (mean_job(job, other) for job in jobs.values())
        yield name, *(text for m, usd in found for text in (f"{m:.1f}", f"{usd:.4f}"))


def _days(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield (
        "clips a day",
        "segments",
        "made by",
        "minutes a clip",
        "$ a clip",
        "with standing costs",
        "machines",
    )
    standing_usd = days.standing_usd(own_server=True)
    for one in days.days(p):
        yield (
            _number(one.a_day),
            str(one.segments),
            one.name,
            f"{one.median / 60:.1f} / {one.percentile_95 / 60:.1f}",
            f"{one.usd:.4f}",
            f"{one.usd + standing_usd / one.a_day:.4f}",
            str(one.most or _UNLIMITED),
        )


def _targets(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "what", "at most, or at least", "simulated", "met"
    for one in days.targets(p):
        yield one.what, one.target, one.found, "yes" if one.is_met else "no"


def _million(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "a million clips a day", "of ten segments"
    yield from days.million(p)


def _plans(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield (
        "plan",
        "requests a minute",
        "clips a day by tasks",
        "clips a day on warm machines",
        "price",
    )
    for plan, tasks, warm in days.plans(p):
        yield plan.name, _number(plan.requests), _number(tasks), _number(warm), plan.price


def _videos(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "video, five shorts of a minute", "without a GPU", "with a GPU instance started for it"
    for minutes in (10, 60, 120):
        made = (document.SHORTS, document.SHORT_SECONDS)
        plain, gpu = (mean_job(Video(minutes, *made, gpu=it), p) for it in (False, True))
        texts = (f"${usd:.2f}, {took:.0f} minutes" for took, usd in (plain, gpu))
        yield f"{minutes} minutes", *texts


def _clips(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "clip of", *(f"{segments} segments" for segments in SEGMENTS)
    yield "", *(f"${mean_job(Clip(segments), p)[1]:.4f}" for segments in SEGMENTS)


def _number(number: float) -> str:
    return _UNLIMITED if isinf(number) else spaced(number)


# Different styles, so that equal limits, whose lines overlap, are all visible.
LINES = ("-", "-", "-", "--", ":")


def draw(p: Parameters, path: Path) -> None:
    """Draw the four plots of the page into one PNG."""
    # Imported only here: it takes longer than a small simulation.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(5, 3))
    above, below = parts
    times, fills = above.subplots(1, 2)
    _draw_times(times, grid(p))
    _draw_limits(fills, p)
    minutes, dollars = below.subplots(1, 2, sharey=True)
    made = ways(p)
    _bars(minutes, made, [way.minutes for way in made], "minutes a video", "%.0f")
    _bars(dollars, made, [way.usd for way in made], "$ a video", "%.2f")
    # Without the version of matplotlib, so that the file changes only if the numbers change.
    figure.savefig(path, dpi=72, metadata={"Software": None})


def _draw_times(axes: "Axes", cells: list[Cell]) -> None:
    for number, segments in enumerate(SEGMENTS):
        row = [c for c in cells if c.segments == segments and not c.overflows]
        days, colour = [c.a_day for c in row], f"C{number}"
        percentile_95, median = ([c.percentile_95 / 60 for c in row], [c.median / 60 for c in row])
        axes.plot(days, median, "o-", color=colour, label=f"{segments} segments")
        axes.fill_between(days, median, percentile_95, color=colour, alpha=0.3)
        if len(row) < len(A_DAY):
            axes.plot(A_DAY[len(row)], median[-1], "x", color=colour, markersize=9)
    axes.set(xscale="log", yscale="log", xlabel="clips a day", ylabel="minutes a clip")
    axes.set_title("Time: median to 95th percentile; ×: work piles up")
    # Space for the legend above the lines.
    axes.set_ylim(2, 60)
    axes.legend(loc="upper center", ncols=3, fontsize=9)


def _draw_limits(axes: "Axes", p: Parameters) -> None:
    found = [{limit.name: limit for limit in limits(Clip(n), p)} for n in SEGMENTS]
    for name in found[-1]:
        days = [one[name].jobs_a_day(p) for one in found]
        axes.plot(SEGMENTS, days, "o" + LINES[len(axes.lines) % len(LINES)], label=name)
    axes.axhline(max(A_DAY), color="black", linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="segments a clip", ylabel="clips a day")
    axes.set_title("What is full at so many clips a day; the lowest is next")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)


def _bars(axes: "Axes", made: list[Way], values: list[float], what: str, form: str) -> None:
    colours = ["tab:gray" if "document" in way.name else "tab:green" for way in made]
    bars = axes.barh([way.name for way in made], values, color=colours)
    axes.bar_label(bars, fmt=form, padding=3)
    if not axes.yaxis_inverted():  # both plots share this axis
        axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title(f"{what}, {document.SHORTS} shorts")
