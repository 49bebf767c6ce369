"""Benchmark of cutting: the cost of 45 s at minute 15 and of alternatives, of ten short segments,
and of a late cut."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Cost, Finding, median_costs
from benchmarks.programs import ffmpeg, run, smartcut
from benchmarks.sources import Sources
from benchmarks.warehouse import Warehouse
from clipflow.media.window import Span

DOCUMENT, INPUT_SEEK, STREAM_COPY = "decoded from the start", "input seek", "stream copy"
SMARTCUT, OURS, BRIEF, LATE, EARLY = "smartcut", "ours", "ten short ones", "late", "early"
_FAST = ("-c:v", "libx264", "-preset", "fast", "-crf", "23", "-c:a", "aac")


def benchmark(sources: Sources, bucket: Warehouse, rounds: int) -> list[Finding]:
    """Cut with clipflow and with each alternative, and compare the costs."""
    extent = sources.extent
    bucket.link(sources.short, "short.mp4")
    ways = alternatives(sources.short, extent.cut, bucket.folder)
    ways[OURS] = lambda: bucket.cut("short.mp4", [extent.cut])
    ways[BRIEF] = lambda: bucket.cut("short.mp4", extent.brief)
    costs = median_costs(ways, rounds)
    bucket.link(sources.long, "long.mp4")
    ways = {
        EARLY: lambda: bucket.cut("long.mp4", [extent.early]),
        LATE: lambda: bucket.cut("long.mp4", [extent.late]),
    }
    return findings(costs) + late_vs_early(median_costs(ways, rounds))


def alternatives(source: Path, span: Span, folder: Path) -> dict[str, Callable[[], object]]:
    """The alternatives to compare with, by name; each writes a file of `span` into `folder`."""
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
    """The CPU time of clipflow's cut, divided by that of each alternative; and that of ten short
    segments, divided by that of the cut."""
    named = {
        DOCUMENT: ("cut/vs-document", 0.08, ""),
        INPUT_SEEK: ("cut/vs-input-seek", 0.22, ""),
        SMARTCUT: ("cut/vs-smartcut", None, " (a process of its own, from a local file)"),
        STREAM_COPY: ("cut/vs-stream-copy", None, " (not exact: begins at a keyframe)"),
    }
    ours, brief = costs[OURS], costs[BRIEF]
    compared = [
        Finding(name, ours.cpu / other.cpu, target, f"ours {ours}; {way} {other}{remark}")
        for way, (name, target, remark) in named.items()
        if (other := costs.get(way))
    ]
    ten = Finding("cut/ten-short", brief.cpu / ours.cpu, None, f"{BRIEF} {brief}; ours {ours}")
    return [*compared, ten]


def late_vs_early(costs: dict[str, Cost]) -> list[Finding]:
    """The CPU time of a cut late in the source, divided by that of the same cut early in it."""
    late, early = costs[LATE], costs[EARLY]
    detail = f"late {late}; early {early}"
    return [Finding("cut/late-vs-early", late.cpu / early.cpu, 1.1, detail)]
