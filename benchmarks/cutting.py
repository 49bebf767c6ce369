"""The cost of cutting 45 s at minute 15, compared with alternatives, and of late and early cuts."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Cost, Finding, side_by_side
from benchmarks.programs import ffmpeg, run, smartcut
from benchmarks.sources import Sources
from benchmarks.warehouse import Warehouse
from clipflow.media.window import Span

DOCUMENT, INPUT_SEEK, STREAM_COPY = "decoded from the start", "sought first", "stream copy"
SMARTCUT, OURS, LATE, EARLY = "smartcut", "ours", "late", "early"
_FAST = ("-c:v", "libx264", "-preset", "fast", "-crf", "23", "-c:a", "aac")


def measured(sources: Sources, stock: Warehouse, rounds: int) -> list[Finding]:
    """The cost of clipflow's cut, as its ratio to the cost of each alternative."""
    extent = sources.extent
    stock.link(sources.short, "short.mp4")
    ways = usual_ways(sources.short, extent.cut, stock.folder)
    ways[OURS] = lambda: stock.cut("short.mp4", [extent.cut])
    costs = side_by_side(ways, rounds)
    stock.link(sources.long, "long.mp4")
    ways = {
        EARLY: lambda: stock.cut("long.mp4", [extent.early]),
        LATE: lambda: stock.cut("long.mp4", [extent.late]),
    }
    return findings(costs) + late_against_early(side_by_side(ways, rounds))


def usual_ways(source: Path, span: Span, folder: Path) -> dict[str, Callable[[], object]]:
    """The alternatives to compare with: each writes a file of `span` into `folder`."""
    start, length = ("-ss", str(float(span.start))), ("-t", str(float(span.duration)))
    given, made = ("-i", str(source)), str(folder / "usual.mp4")
    ways: dict[str, Callable[[], object]] = {
        DOCUMENT: lambda: ffmpeg(*given, *start, *length, *_FAST, made),
        INPUT_SEEK: lambda: ffmpeg(*start, *given, *length, *_FAST, made),
        STREAM_COPY: lambda: ffmpeg(*start, *given, *length, "-c", "copy", made),
    }
    program, keep = smartcut(), f"{float(span.start)},{float(span.end)}"
    if program:
        ways[SMARTCUT] = lambda: run(program, str(source), made, "--keep", keep)
    return ways


def findings(costs: dict[str, Cost]) -> list[Finding]:
    """Our processor time as a share of each other way's."""
    named = {
        DOCUMENT: ("cut/vs-document", 0.08, ""),
        INPUT_SEEK: ("cut/vs-input-seek", 0.22, ""),
        SMARTCUT: ("cut/vs-smartcut", None, " (a process of its own, from a local file)"),
        STREAM_COPY: ("cut/vs-stream-copy", None, " (not exact: begins at a keyframe)"),
    }
    ours = costs[OURS]
    return [
        Finding(
            name, ours.processor / other.processor, target, f"ours {ours}; {way} {other}{remark}"
        )
        for way, (name, target, remark) in named.items()
        if (other := costs.get(way))
    ]


def late_against_early(costs: dict[str, Cost]) -> list[Finding]:
    late, early = costs[LATE], costs[EARLY]
    detail = f"late {late}; early {early}"
    return [Finding("cut/late-vs-early", late.processor / early.processor, 1.1, detail)]
