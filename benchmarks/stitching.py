"""How far sound and picture drift apart, and from where they belong, over ten joins."""

from fractions import Fraction
from pathlib import Path

from benchmarks.measure import Finding
from benchmarks.warehouse import Warehouse
from clipflow.media.mux import SegmentFile, stitch
from clipflow.media.window import Span
from tests.made_media import clicks, flashes, make_source

JOINS = 10
_SECONDS = 14
# A frame rate whose frames are not whole in anything, and sound that is not whole in its frames.
_RATE, _SAMPLE_RATE = Fraction(30000, 1001), 44100


def measured(stock: Warehouse) -> list[Finding]:
    """The worst of all flashes and clicks of a clip of eleven segments."""
    source = make_source(
        stock.folder / "clicks.mp4",
        seconds=_SECONDS,
        rate=_RATE,
        sample_rate=_SAMPLE_RATE,
        clicks=True,
        sound=("-c:a", "aac"),
    )
    stock.link(source, "clicks.mp4")
    spans = uneven_spans()
    pieces = [
        SegmentFile(path, span.duration)
        for path, span in zip(stock.cut("clicks.mp4", spans), spans, strict=True)
    ]
    clip = stock.folder / "clip.mp4"
    stitch(pieces, clip)
    return [finding(clip, spans)]


def uneven_spans() -> list[Span]:
    """Lengths that are whole in neither frames nor samples, each with one whole second inside."""
    starts = [Fraction(n) + Fraction("0.503") for n in range(JOINS + 1)]
    return [Span(start, start + Fraction("1.0987")) for start in starts]


def finding(clip: Path, spans: list[Span]) -> Finding:
    """What the clip's own frames and samples say."""
    clicks_at, flashes_at = clicks(clip), flashes(clip)
    if not len(clicks_at) == len(flashes_at) == len(spans):
        counts = f"{len(flashes_at)} flashes and {len(clicks_at)} clicks in {len(spans)} segments"
        return Finding("drift/ten-joins-ms", float("inf"), 1, counts)
    # The frame that flashes is the first at or after the second, so it may come up to a frame late.
    meant = [sum(s.duration for s in spans[:n]) - spans[n].start % 1 + 1 for n in range(len(spans))]
    frames = [_first_frame(n + 1) for n in range(len(spans))]
    sight = [abs(s - m - f) for s, m, f in zip(flashes_at, meant, frames, strict=True)]
    sound = [abs(h - m) for h, m in zip(clicks_at, meant, strict=True)]
    worst = float(max(*sight, *sound) * 1000)
    detail = (
        f"picture {float(max(sight) * 1000):.3f} ms, sound {float(max(sound) * 1000):.3f} ms, "
        f"the last join {float(max(sight[-1], sound[-1]) * 1000):.3f} ms"
    )
    return Finding("drift/ten-joins-ms", worst, 1, detail)


def _first_frame(second: int) -> Fraction:
    """By how much the first frame at or after `second` is later."""
    return -(-second * _RATE // 1) / _RATE - second
