"""The peak memory of a run's own Python process while it cuts and renders, without its ffmpegs.

    python -m benchmarks.memory cut|short FOLDER URL EXTENT

is that process: it has imported what a flow run has, and prints megabytes.
"""

import sys
from pathlib import Path

from benchmarks.measure import Finding, own_peak
from benchmarks.programs import run
from benchmarks.sources import FULL, QUICK, Extent, Sources
from benchmarks.warehouse import Warehouse
from clipflow.domain.transcript import Word


def measured(sources: Sources, stock: Warehouse) -> list[Finding]:
    """The worse of cutting and rendering, from the two-hour source."""
    stock.link(sources.long, "large.mp4")
    stock.link(sources.background, "background.mp4")
    peaks = {what: _peak(what, sources.extent, stock) for what in ("cut", "short")}
    found = ", ".join(f"{what} {peak:.0f} MB" for what, peak in peaks.items())
    size = sources.long.stat().st_size / 1e6
    return [
        Finding("memory/peak-mb", max(peaks.values()), 300, f"{found}; a source of {size:.0f} MB")
    ]


def _peak(what: str, extent: Extent, stock: Warehouse) -> float:
    command = (sys.executable, "-m", "benchmarks.memory", what, str(stock.folder), stock.url)
    return float(run(*command, extent.name).stdout.split()[-1])


def main(what: str, folder: str, url: str, name: str) -> None:
    # What a flow run of the product has in memory besides.
    import flows.generate_clip
    import flows.generate_shorts  # noqa: F401

    stock = Warehouse(Path(folder), url)
    extent = FULL if name == FULL.name else QUICK
    span = extent.late
    if what == "cut":
        stock.cut("large.mp4", [span])
    else:
        word = Word(text="word", start=float(span.start) + 1, end=float(span.start) + 2)
        stock.short("large.mp4", span, [word], "background.mp4")
    print(own_peak())


if __name__ == "__main__":
    main(*sys.argv[1:])
