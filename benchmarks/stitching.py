"""Benchmark of stitching: how far picture and sound are from their exact times after ten joins."""

from fractions import Fraction
from pathlib import Path

from benchmarks.measure import Finding
from benchmarks.warehouse import Warehouse
from clipflow.media.mux import SegmentFile, stitch
from clipflow.media.window import Span
from tests.made_media import clicks, flashes, make_source

JOINS = 10
_SECONDS = 14
# At this frame rate and this sample rate, neither a frame nor its samples have a whole length.
_RATE, _SAMPLE_RATE = Fraction(30000, 1001), 44100


def benchmark(bucket: Warehouse) -> list[Finding]:
    """Stitch a clip of eleven segments, and measure its flashes and clicks."""
    source = make_source(
        bucket.folder / "clicks.mp4",
        seconds=_SECONDS,
        rate=_RATE,
        sample_rate=_SAMPLE_RATE,
        clicks=True,
        sound=("-c:a", "aac"),
    )
    bucket.link(source, "clicks.mp4")
    spans = uneven_spans()
    pieces = [
        SegmentFile(path, span.duration)
        for path, span in zip(bucket.cut("clicks.mp4", spans), spans, strict=True)
    ]
    clip = bucket.folder / "clip.mp4"
    stitch(pieces, clip)
    return [finding(clip, spans)]


def uneven_spans() -> list[Span]:
    """Spans whose lengths are a whole number of neither frames nor samples.

    Each contains one whole second, at which the source has a flash and a click.
    """
    starts = [Fraction(n) + Fraction("0.503") for n in range(JOINS + 1)]
    return [Span(start, start + Fraction("1.0987")) for start in starts]


def finding(clip: Path, spans: list[Span]) -> Finding:
    """The largest distance, in milliseconds, of a flash or a click from its exact time."""
    clicks_at, flashes_at = clicks(clip), flashes(clip)
    if not len(clicks_at) == len(flashes_at) == len(spans):
        counts = f"{len(flashes_at)} flashes and {len(clicks_at)} clicks in {len(spans)} segments"
        return Finding("drift/ten-joins-ms", float("inf"), 1, counts)
    # The flash is in the first frame at or after the second, which is up to a frame later.
    expected = [
        sum(s.duration for s in spans[:n]) - spans[n].start % 1 + 1 for n in range(len(spans))
    ]
    frames = [_first_frame(n + 1) for n in range(len(spans))]
    sight = [abs(s - m - f) for s, m, f in zip(flashes_at, expected, frames, strict=True)]
    sound = [abs(h - m) for h, m in zip(clicks_at, expected, strict=True)]
    worst = float(max(*sight, *sound) * 1000)
    detail = (
        f"picture {float(max(sight) * 1000):.3f} ms, sound {float(max(sound) * 1000):.3f} ms, "
        f"the last join {float(max(sight[-1], sound[-1]) * 1000):.3f} ms"
    )
    return Finding("drift/ten-joins-ms", worst, 1, detail)


def _first_frame(second: int) -> Fraction:
    """The distance from `second` to the first frame at or after it, in seconds."""
    return -(-second * _RATE // 1) / _RATE - second
