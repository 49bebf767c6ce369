"""Runs the benchmarks on sources that it generates: `python -m benchmarks`."""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from benchmarks import (
    beginnings,
    cutting,
    framing,
    memory,
    orchestration,
    reading,
    rendering,
    report,
    speech,
    starts,
    stitching,
)
from benchmarks.measure import Finding
from benchmarks.programs import cpu_name, ffmpeg_with_vmaf, run, smartcut
from benchmarks.simulation import results as scale
from benchmarks.sources import FULL, QUICK, Sources
from benchmarks.warehouse import Warehouse, warehouse
from clipflow.media.ffmpeg import executable

TOPICS = (
    "cut",
    "bytes",
    "drift",
    "render",
    "framing",
    "speech",
    "orchestration",
    "starts",
    "begin",
    "memory",
    "scale",
)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds; results are their medians")
    parser.add_argument("--quick", action="store_true", help="one round, small and short sources")
    parser.add_argument("--only", choices=TOPICS, nargs="+", default=TOPICS, metavar="TOPIC")
    home = Path(tempfile.gettempdir(), "clipflow-bench")
    parser.add_argument("--folder", type=Path, default=home, help="of the sources, kept: 8 GB")
    parser.add_argument("--out", type=Path, default=Path("out"), help="of the results")
    return parser


def topics(
    sources: Sources, bucket: Warehouse, rounds: int
) -> dict[str, Callable[[], list[Finding]]]:
    """The function that runs the benchmark of each topic, by name."""
    return {
        "cut": lambda: cutting.benchmark(sources, bucket, rounds),
        "bytes": lambda: reading.benchmark(sources, bucket),
        "drift": lambda: stitching.benchmark(bucket),
        "render": lambda: rendering.benchmark(sources, bucket, rounds),
        "framing": lambda: framing.benchmark(bucket.folder),
        "speech": lambda: speech.benchmark(
            bucket.folder, 1 if sources.extent is QUICK else speech.REPEATS
        ),
        "orchestration": lambda: orchestration.benchmark(sources.extent, bucket.folder),
        "starts": lambda: starts.benchmark(bucket.folder, rounds),
        "begin": lambda: beginnings.benchmark(sources.extent, bucket.folder),
        "memory": lambda: memory.benchmark(sources, bucket),
        "scale": scale.benchmark,
    }


def machine() -> Iterator[str]:
    """Lines that describe the machine and the installed programs, which affect the results."""
    yield f"{os.cpu_count()} cores, {cpu_name()}"
    yield run(executable(), "-version").stdout.splitlines()[0]
    yield f"VMAF: {'measured' if ffmpeg_with_vmaf() else 'no ffmpeg has libvmaf, so SSIM only'}"
    yield f"transcribers: {', '.join(speech.available())}"
    material = "found" if os.environ.get("CLIPFLOW_MATERIAL") else "CLIPFLOW_MATERIAL is not set"
    yield f"real speech: {material}"
    yield f"smartcut: {'installed' if smartcut() else 'not on the PATH, so skipped'}"


def main() -> None:
    options = arguments().parse_args()
    console = Console()
    for line in machine():
        console.print(line, highlight=False)
    sources = Sources(options.folder.resolve(), QUICK if options.quick else FULL)
    rounds = 1 if options.quick else max(1, options.rounds)
    options.folder.mkdir(parents=True, exist_ok=True)
    # In the folder of the sources, because the system's temporary folder may be too small.
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=options.folder.resolve()))
    findings: list[Finding] = []
    try:
        with warehouse(scratch / "objects") as bucket:
            known = topics(sources, bucket, rounds)
            for topic in options.only:
                with console.status(f"measuring: {topic}"):
                    findings += known[topic]()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        # Also if a later topic failed, because the earlier measurements took long.
        report.write(findings, options.out, console)


if __name__ == "__main__":
    main()
