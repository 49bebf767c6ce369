"""Benchmark of reading: bytes read from a source per byte of the packets of its segments."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av

from benchmarks.measure import Finding
from benchmarks.sources import BLOCK_SECONDS, Sources
from benchmarks.warehouse import Warehouse
from clipflow.media.window import Span


def benchmark(sources: Sources, bucket: Warehouse) -> list[Finding]:
    """Cut five segments of each source, and compare the bytes read with the bytes needed."""
    extent = sources.extent
    spans = list(extent.read)
    later = spread(spans, extent.long - extent.short)
    return [
        _read("bytes/20min", 1.15, sources.short, spans, bucket),
        _read("bytes/2h", 1.35, sources.long, later, bucket),
    ]


def spread(spans: Sequence[Span], seconds: int) -> list[Span]:
    """The spans at equal distances over a longer source; the last is moved by at most `seconds`.

    Each is moved by whole blocks of the source, so its position in its group of pictures is kept.
    """
    step = seconds // (len(spans) - 1) // BLOCK_SECONDS * BLOCK_SECONDS
    moved = enumerate(spans)
    return [Span(span.start + n * step, span.end + n * step) for n, span in moved]


def _read(
    name: str, target: float, path: Path, spans: Sequence[Span], bucket: Warehouse
) -> Finding:
    key = "read.mp4"
    bucket.link(path, key)
    bucket.bytes_read(key)
    bucket.cut(key, spans)
    read, own = bucket.bytes_read(key), sum(packet_bytes(path, span) for span in spans)
    detail = (
        f"{read / 1e6:.1f} MB read for {len(spans)} segments of {own / 1e6:.1f} MB in all; "
        f"the index is {index_bytes(path) / 1e6:.1f} MB"
    )
    return Finding(name, read / own, target, detail)


def packet_bytes(path: Path, span: Span) -> int:
    """The total size of the video and audio packets that are presented in `span`."""
    with av.open(str(path)) as container:
        # A second earlier, because the audio of the same time may be stored before the keyframe.
        container.seek(int(max(Fraction(0), span.start - 1) * av.time_base), backward=True)
        total = 0
        for packet in container.demux():
            if packet.pts is None or packet.dts is None:
                continue
            if span.start <= packet.pts * packet.time_base < span.end:
                total += packet.size
            if packet.dts * packet.time_base >= span.end + 1:
                break
        return total


def index_bytes(path: Path) -> int:
    """The size of an MP4's `moov`; 0 if it has none."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            size, kind = int.from_bytes(head[:4]), head[4:]
            start = file.tell() - 8
            if size == 1:
                size = int.from_bytes(file.read(8))
            if kind == b"moov" or size == 0:
                return size if kind == b"moov" else 0
            file.seek(start + size)
    return 0
