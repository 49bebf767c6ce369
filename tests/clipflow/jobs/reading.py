"""Reading windows of sources in the local S3 through a proxy that counts requests and bytes."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from clipflow.jobs.segment import open_source
from clipflow.media.fetching import fetch_window
from clipflow.media.probe import Probe, probe_source
from clipflow.media.ranges import ByteRange
from clipflow.media.window import Span
from clipflow.storage.objects import ObjectHead, ObjectStore, object_store
from tests.faulty_proxy import FaultyProxy, Request
from tests.made_media import FFMPEG


def run(*arguments: str) -> None:
    subprocess.run([FFMPEG, "-nostdin", "-v", "error", "-y", *arguments], check=True)


def remuxed(source: Path, path: Path, options: Sequence[str] = ()) -> Path:
    run("-i", str(source), "-c", "copy", *options, str(path))
    return path


@dataclass
class Reading:
    """A window's packets, and the requests that fetched them."""

    packets: list[tuple[int, int | None, bytes]]
    requests: list[Request]

    @property
    def packet_bytes(self) -> int:
        return sum(len(data) for *_, data in self.packets)

    @property
    def sent(self) -> int:
        return sum(request.sent for request in self.requests)


class ProxiedReader:
    """Uploads sources directly to the store, and reads windows of them through the proxy."""

    def __init__(self, direct: ObjectStore, proxy: FaultyProxy, folder: Path) -> None:
        self.direct, self.proxy, self.folder = direct, proxy, folder
        self.objects = object_store()

    def put(self, path: Path, name: str = "") -> ObjectHead:
        key = f"{self.folder.name}/{name or path.name}"
        self.direct.client.upload_file(str(path), self.direct.bucket, key)
        head = self.direct.head(key)
        assert head
        return head

    def probe(self, head: ObjectHead) -> Probe:
        return probe_source(open_source(head, self.objects))

    def read(self, head: ObjectHead, probe: Probe, start: float, end: float) -> Reading:
        """Read the window from `start` to `end`, in seconds."""
        before = len(self.proxy.requests)
        path = self.folder / f"{start}.nut"
        span = Span(Fraction(start), Fraction(end))
        fetch_window(open_source(head, self.objects), probe, span, path)
        with av.open(str(path)) as window:
            packets = [(p.stream_index, p.pts, bytes(p)) for p in window.demux() if p.size]
        return Reading(packets, self.proxy.requests[before:])


def extent(request: Request) -> ByteRange:
    start, last = request.range.removeprefix("bytes=").split("-")
    return ByteRange(int(start), int(last) + 1)
