"""Benchmark of memory: the peak of a run's Python process while it cuts or renders, without ffmpeg.

    python -m benchmarks.memory cut|short FOLDER URL EXTENT

is the measured process. It imports the same modules as a flow run, and prints its peak in MB.
"""

import sys
from pathlib import Path

from benchmarks.measure import Finding, peak_memory_mb
from benchmarks.programs import run
from benchmarks.sources import FULL, QUICK, Extent, Sources
from benchmarks.warehouse import Warehouse
from clipflow.domain.transcript import Word


def benchmark(sources: Sources, bucket: Warehouse) -> list[Finding]:
    """The larger peak of cutting and of rendering from the two-hour source."""
    bucket.link(sources.long, "large.mp4")
    bucket.link(sources.background, "background.mp4")
    peaks = {what: _peak(what, sources.extent, bucket) for what in ("cut", "short")}
    found = ", ".join(f"{what} {peak:.0f} MB" for what, peak in peaks.items())
    size = sources.long.stat().st_size / 1e6
    return [
        Finding("memory/peak-mb", max(peaks.values()), 300, f"{found}; a source of {size:.0f} MB")
    ]


def _peak(what: str, extent: Extent, bucket: Warehouse) -> float:
    command = (sys.executable, "-m", "benchmarks.memory", what, str(bucket.folder), bucket.url)
    return float(run(*command, extent.name).stdout.split()[-1])


def main(what: str, folder: str, url: str, name: str) -> None:
    # The modules that a flow run also has in memory.
    import flows.generate_clip
    import flows.generate_shorts  # noqa: F401

    bucket = Warehouse(Path(folder), url)
    extent = FULL if name == FULL.name else QUICK
    span = extent.late
    if what == "cut":
        bucket.cut("large.mp4", [span])
    else:
        word = Word(text="word", start=float(span.start) + 1, end=float(span.start) + 2)
        bucket.short("large.mp4", span, [word], "background.mp4")
    print(peak_memory_mb())


if __name__ == "__main__":
    main(*sys.argv[1:])
