"""The bytes read from a source, with its index, for each byte of the segments' own packets."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av

from benchmarks.measure import Finding
from benchmarks.sources import BLOCK_SECONDS, Sources
from benchmarks.warehouse import Warehouse
from clipflow.media.window import Span


def measured(sources: Sources, stock: Warehouse) -> list[Finding]:
    """A run of five segments of each source."""
    extent = sources.extent
    spans = list(extent.read)
    later = spread(spans, extent.long - extent.short)
    return [
        _read("bytes/20min", 1.15, sources.short, spans, stock),
        _read("bytes/2h", 1.35, sources.long, later, stock),
    ]


def spread(spans: Sequence[Span], seconds: int) -> list[Span]:
    """The spans, each moved further than the one before and the last by `seconds` at most.

    Whole blocks, so that each begins where it did in its group of pictures.
    """
    step = seconds // (len(spans) - 1) // BLOCK_SECONDS * BLOCK_SECONDS
    moved = enumerate(spans)
    return [Span(span.start + n * step, span.end + n * step) for n, span in moved]


def _read(name: str, target: float, path: Path, spans: Sequence[Span], stock: Warehouse) -> Finding:
    key = "read.mp4"
    stock.link(path, key)
    stock.bytes_read(key)
    stock.cut(key, spans)
    read, own = stock.bytes_read(key), sum(packet_bytes(path, span) for span in spans)
    detail = (
        f"{read / 1e6:.1f} MB read for {len(spans)} segments of {own / 1e6:.1f} MB in all; "
        f"the index is {index_bytes(path) / 1e6:.1f} MB"
    )
    return Finding(name, read / own, target, detail)


def packet_bytes(path: Path, span: Span) -> int:
    """Of the packets, picture and sound, that are shown in `span`."""
    with av.open(str(path)) as container:
        # A second earlier, because a container's sound may lie before its picture's keyframe.
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
