"""Fixtures shared by the tests of both jobs: cutting, reading through a proxy, making shorts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clipflow.media.ranges import BLOCK_CACHE
from clipflow.settings import settings
from clipflow.storage import aws
from clipflow.storage.objects import ObjectStore
from tests.clipflow.jobs.cutting import Cutter
from tests.clipflow.jobs.reading import ProxiedReader, run
from tests.clipflow.jobs.studio import Studio
from tests.faulty_proxy import FaultyProxy


@pytest.fixture
def cutter(objects: ObjectStore, tmp_path: Path) -> Cutter:
    return Cutter(objects, tmp_path)


@pytest.fixture
def studio(objects: ObjectStore, tmp_path: Path) -> Studio:
    return Studio(objects, tmp_path)


@pytest.fixture(scope="session")
def five_minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of five minutes at about 1 Mbit/s, with a keyframe every two seconds."""
    path = tmp_path_factory.mktemp("five") / "five.mp4"
    made = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25,noise=alls=12:allf=t"]
    made += ["-f", "lavfi", "-i", "sine=f=300:r=48000", "-t", "300", "-pix_fmt", "yuv420p"]
    made += ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-bf", "2", "-b:v", "900k"]
    run(*made, "-c:a", "aac", str(path))
    return path


@pytest.fixture(scope="session")
def two_hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small video of two hours, with a large index at its front."""
    path = tmp_path_factory.mktemp("two") / "two.mp4"
    minute = path.with_name("minute.mp4")
    made = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=30"]
    made += ["-f", "lavfi", "-i", "sine=f=300:r=48000", "-t", "60", "-pix_fmt", "yuv420p"]
    made += ["-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-crf", "40"]
    run(*made, "-c:a", "aac", "-b:a", "24k", str(minute))
    copy = ["-stream_loop", "119", "-i", str(minute), "-c", "copy", "-movflags", "+faststart"]
    run(*copy, str(path))
    return path


@pytest.fixture
def proxied_reader(local_aws: str, objects: ObjectStore, tmp_path: Path) -> Iterator[ProxiedReader]:
    BLOCK_CACHE.clear()
    with FaultyProxy(local_aws).running() as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        _clear_caches()
        yield ProxiedReader(objects, proxy, tmp_path)
    _clear_caches()


def _clear_caches() -> None:
    for cached in (settings, aws.s3_client, aws.records_table, aws.events_client):
        cached.cache_clear()
