"""Long sources in the local S3, behind a proxy that counts what is read of them."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import pytest

from clipflow.jobs.segment import open_source
from clipflow.media import ffmpeg
from clipflow.media.probe import Probe, probe
from clipflow.media.ranges import KEPT, Extent
from clipflow.media.window import Span, fetch
from clipflow.settings import settings
from clipflow.storage import aws
from clipflow.storage.objects import ObjectHead, ObjectStore, object_store
from tests.faulty_proxy import FaultyProxy, Request


def run(*arguments: str) -> None:
    subprocess.run([ffmpeg.executable(), "-nostdin", "-v", "error", "-y", *arguments], check=True)


@pytest.fixture(scope="session")
def five_minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """At about a megabit a second, a keyframe every two."""
    path = tmp_path_factory.mktemp("five") / "five.mp4"
    made = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25,noise=alls=12:allf=t"]
    made += ["-f", "lavfi", "-i", "sine=f=300:r=48000", "-t", "300", "-pix_fmt", "yuv420p"]
    made += ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-bf", "2", "-b:v", "900k"]
    run(*made, "-c:a", "aac", str(path))
    return path


@pytest.fixture(scope="session")
def two_hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of few bytes, with as many packets as any: its index is at the front, and large."""
    path = tmp_path_factory.mktemp("two") / "two.mp4"
    minute = path.with_name("minute.mp4")
    made = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=30"]
    made += ["-f", "lavfi", "-i", "sine=f=300:r=48000", "-t", "60", "-pix_fmt", "yuv420p"]
    made += ["-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-crf", "40"]
    run(*made, "-c:a", "aac", "-b:a", "24k", str(minute))
    copy = ["-stream_loop", "119", "-i", str(minute), "-c", "copy", "-movflags", "+faststart"]
    run(*copy, str(path))
    return path


def remuxed(source: Path, path: Path, options: Sequence[str] = ()) -> Path:
    run("-i", str(source), "-c", "copy", *options, str(path))
    return path


@dataclass
class Reading:
    """A window's packets, and what it took to get them."""

    packets: list[tuple[int, int | None, bytes]]
    requests: list[Request]

    @property
    def own(self) -> int:
        return sum(len(data) for *_, data in self.packets)

    @property
    def sent(self) -> int:
        return sum(request.sent for request in self.requests)


class ReadingRoom:
    """Puts sources past the proxy, and reads windows through it."""

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
        return probe(open_source(head, self.objects))

    def read(self, head: ObjectHead, known: Probe, start: float, end: float) -> Reading:
        """A window of `start` to `end`, in seconds."""
        before = len(self.proxy.requests)
        path = self.folder / f"{start}.nut"
        span = Span(Fraction(start), Fraction(end))
        fetch(open_source(head, self.objects), known, span, path)
        with av.open(str(path)) as window:
            packets = [(p.stream_index, p.pts, bytes(p)) for p in window.demux() if p.size]
        return Reading(packets, self.proxy.requests[before:])


def extent(request: Request) -> Extent:
    start, last = request.range.removeprefix("bytes=").split("-")
    return Extent(int(start), int(last) + 1)


@pytest.fixture
def reading_room(local_aws: str, objects: ObjectStore, tmp_path: Path) -> Iterator[ReadingRoom]:
    KEPT.clear()
    with FaultyProxy(local_aws).running() as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        _clear()
        yield ReadingRoom(objects, proxy, tmp_path)
    _clear()


def _clear() -> None:
    for cached in (settings, aws.s3_client, aws.records_table):
        cached.cache_clear()
