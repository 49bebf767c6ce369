"""`python -m benchmarks`: runs the benchmarks, on sources that it generates itself."""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from benchmarks import (
    cutting,
    framing,
    memory,
    orchestration,
    reading,
    rendering,
    report,
    speech,
    stitching,
)
from benchmarks.measure import Finding
from benchmarks.programs import cpu_name, run, smartcut, with_vmaf
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
    "memory",
    "scale",
)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--quick", action="store_true", help="one round, small and short sources")
    parser.add_argument("--only", choices=TOPICS, nargs="+", default=TOPICS, metavar="TOPIC")
    home = Path(tempfile.gettempdir(), "clipflow-bench")
    parser.add_argument("--folder", type=Path, default=home, help="keeps the sources: 8 GB")
    parser.add_argument("--out", type=Path, default=Path("out"), help="for the results")
    return parser


def topics(
    sources: Sources, stock: Warehouse, rounds: int
) -> dict[str, Callable[[], list[Finding]]]:
    """What each topic measures, by name."""
    return {
        "cut": lambda: cutting.measured(sources, stock, rounds),
        "bytes": lambda: reading.measured(sources, stock),
        "drift": lambda: stitching.measured(stock),
        "render": lambda: rendering.measured(sources, stock, rounds),
        "framing": lambda: framing.measured(stock.folder),
        "speech": lambda: speech.measured(
            stock.folder, 1 if sources.extent is QUICK else speech.REPEATS
        ),
        "orchestration": lambda: orchestration.measured(sources.extent, stock.folder),
        "memory": lambda: memory.measured(sources, stock),
        "scale": scale.measured,
    }


def machine() -> Iterator[str]:
    """What the numbers depend on."""
    yield f"{os.cpu_count()} cores, {cpu_name()}"
    yield run(executable(), "-version").stdout.splitlines()[0]
    yield f"VMAF: {'measured' if with_vmaf() else 'no ffmpeg with libvmaf at hand, so SSIM only'}"
    yield f"transcribers: {', '.join(speech.available())}"
    material = "found" if os.environ.get("CLIPFLOW_MATERIAL") else "CLIPFLOW_MATERIAL names none"
    yield f"real speech: {material}"
    yield f"smartcut: {'installed' if smartcut() else 'not on the PATH, so left out'}"


def main() -> None:
    options = arguments().parse_args()
    console = Console()
    for line in machine():
        console.print(line, highlight=False)
    sources = Sources(options.folder.resolve(), QUICK if options.quick else FULL)
    rounds = 1 if options.quick else max(1, options.rounds)
    options.folder.mkdir(parents=True, exist_ok=True)
    # Beside the sources, where there is room.
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=options.folder.resolve()))
    findings: list[Finding] = []
    try:
        with warehouse(scratch / "objects") as stock:
            known = topics(sources, stock, rounds)
            for topic in options.only:
                with console.status(f"measuring: {topic}"):
                    findings += known[topic]()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        # Also where a later topic failed: what was measured took its time.
        report.write(findings, options.out, console)


if __name__ == "__main__":
    main()
