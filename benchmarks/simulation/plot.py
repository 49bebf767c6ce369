"""The page's plot. Needs matplotlib."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.simulation import document
from benchmarks.simulation.jobs import Clip
from benchmarks.simulation.limits import limits
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.results import A_DAY, SEGMENTS, Cell, Way, grid, ways

# Some limits are equal: a line over another lets it be seen.
LINES = ("-", "-", "-", "--", ":")


def draw(p: Parameters, path: Path) -> None:
    """Four pictures in one PNG."""
    figure = Figure(figsize=(13, 8), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(5, 3))
    above, below = parts
    times, fills = above.subplots(1, 2)
    _times(times, grid(p))
    _fills(fills, p)
    minutes, dollars = below.subplots(1, 2, sharey=True)
    made = ways(p)
    _bars(minutes, made, [way.minutes for way in made], "minutes a video", "%.0f")
    _bars(dollars, made, [way.usd for way in made], "$ a video", "%.2f")
    # Without a version of matplotlib, so that equal numbers are an equal file.
    figure.savefig(path, dpi=72, metadata={"Software": None})


def _times(axes: Axes, cells: list[Cell]) -> None:
    for number, segments in enumerate(SEGMENTS):
        row = [c for c in cells if c.segments == segments and not c.piles_up]
        days, colour = [c.a_day for c in row], f"C{number}"
        late, middle = ([c.late / 60 for c in row], [c.middle / 60 for c in row])
        axes.plot(days, middle, "o-", color=colour, label=f"{segments} segments")
        axes.fill_between(days, middle, late, color=colour, alpha=0.3)
        if len(row) < len(A_DAY):
            axes.plot(A_DAY[len(row)], middle[-1], "x", color=colour, markersize=9)
    axes.set(xscale="log", yscale="log", xlabel="clips a day", ylabel="minutes a clip")
    axes.set_title("Time: median to 95th percentile; ×: work piles up")
    # A band above what is drawn, for the legend.
    axes.set_ylim(2, 60)
    axes.legend(loc="upper center", ncols=3, fontsize=9)


def _fills(axes: Axes, p: Parameters) -> None:
    found = [{limit.name: limit for limit in limits(Clip(n), p)} for n in SEGMENTS]
    for name in found[-1]:
        days = [one[name].jobs_a_day(p) for one in found]
        axes.plot(SEGMENTS, days, "o" + LINES[len(axes.lines) % len(LINES)], label=name)
    axes.axhline(max(A_DAY), color="black", linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="segments a clip", ylabel="clips a day")
    axes.set_title("What is full at so many clips a day; the lowest is next")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)


def _bars(axes: Axes, made: list[Way], values: list[float], what: str, form: str) -> None:
    colours = ["tab:gray" if "document" in way.name else "tab:green" for way in made]
    bars = axes.barh([way.name for way in made], values, color=colours)
    axes.bar_label(bars, fmt=form, padding=3)
    if not axes.yaxis_inverted():  # the other's is this one's
        axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title(f"{what}, {document.SHORTS} shorts")
