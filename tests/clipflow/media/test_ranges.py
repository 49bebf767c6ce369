"""`RangeFile` returns the object's bytes, and requests little more than is read."""

from pathlib import Path
from random import Random
from struct import pack

import av
import pytest

from clipflow.domain.errors import StorageUnavailableError
from clipflow.media.ranges import BLOCK, LARGEST, BlockCache, ByteRange, RangeFile, index_length
from clipflow.media.source_errors import source_errors
from tests.made_media import make_source

SIZE = 24 << 20


class Remote:
    """An object in memory that records the requested ranges."""

    def __init__(self, size: int = SIZE) -> None:
        self.data = Random(1).randbytes(size)
        self.requests: list[ByteRange] = []

    def fetch(self, start: int, end: int) -> bytes:
        self.requests.append(ByteRange(start, end))
        assert 0 <= start < end <= len(self.data)
        return self.data[start:end]

    def file(self, cache: BlockCache | None = None, *, opened: bool = True) -> RangeFile:
        made = RangeFile(self.fetch, len(self.data), "it", BlockCache() if cache is None else cache)
        if opened:
            made.expect([], 1 << 18)
        return made

    @property
    def bytes_requested(self) -> int:
        return sum(end - start for start, end in self.requests)


def read(file: RangeFile, start: int, count: int) -> bytes:
    """Read as PyAV does: one buffer at a time."""
    file.seek(start)
    data = b""
    while len(data) < count and (more := file.read(min(1 << 15, count - len(data)))):
        data += more
    return data


@pytest.mark.parametrize("opened", [True, False])
def test_reads_at_any_position_return_the_objects_bytes(opened: bool) -> None:
    remote, chance = Remote(3 << 20), Random(2)
    file = remote.file(opened=opened)
    for _ in range(300):
        start, count = chance.randrange(len(remote.data)), chance.choice([1, 5000, 300_000])
        assert read(file, start, count) == remote.data[start : start + count]
    file.seek(0, 2)
    assert file.tell() == len(remote.data)
    assert file.read(1) == b""


def test_an_expected_range_is_requested_once_in_large_pieces_and_no_further() -> None:
    remote = Remote()
    file = remote.file()
    wanted = ByteRange(1_000_001, 1_000_001 + 2 * LARGEST + 77)
    file.expect([wanted], 1 << 18)
    read(file, wanted.start, wanted.end - wanted.start)
    assert len(remote.requests) == 3
    assert remote.bytes_requested == wanted.end - wanted.start


def test_distant_streams_are_read_alternately_without_repeated_requests() -> None:
    remote = Remote()
    file = remote.file()
    picture, sound = ByteRange(0, 12 << 20), ByteRange(20 << 20, 21 << 20)
    file.expect([picture, sound], 1 << 18)
    for turn in range(64):
        read(file, picture.start + turn * (12 << 14), 12 << 14)
        read(file, sound.start + turn * (1 << 14), 1 << 14)
    assert remote.bytes_requested == 13 << 20
    assert len(remote.requests) < 14


def test_without_an_index_a_run_of_reads_is_fetched_in_steps() -> None:
    remote = Remote()
    read(remote.file(), 5_000_000, 2_000_000)
    assert len(remote.requests) <= 10
    assert remote.bytes_requested <= 2_000_000 + (1 << 18)


def test_blocks_read_while_opening_are_cached_for_the_next_file() -> None:
    remote, cache = Remote(), BlockCache()
    for _ in range(2):
        file = remote.file(cache, opened=False)
        read(file, 0, 100_000)
        read(file, SIZE - 50_000, 50_000)
    assert remote.bytes_requested < 600_000
    first, requested = len(remote.requests), remote.bytes_requested
    cache.clear()
    read(remote.file(cache, opened=False), 0, 1)
    assert remote.bytes_requested > requested
    assert len(remote.requests) == first + 1


def test_the_cache_is_bounded_and_evicts_the_least_recently_used_block() -> None:
    cache = BlockCache(limit=3 * BLOCK)
    block = bytes(BLOCK)
    for number in range(3):
        cache.put("it", number, block)
    assert cache.get("it", 0)
    cache.put("other", 0, block)
    assert [bool(cache.get("it", number)) for number in range(3)] == [True, False, True]


def test_an_index_larger_than_the_cache_is_still_read() -> None:
    remote = Remote()
    file = remote.file(BlockCache(limit=2 * BLOCK), opened=False)
    assert read(file, 0, 2_000_000) == remote.data[:2_000_000]


def test_a_failed_request_ends_the_file_and_is_not_repeated() -> None:
    requested = []

    def fetch(start: int, end: int) -> bytes:
        requested.append(start)
        raise StorageUnavailableError("S3 is away.")

    file = RangeFile(fetch, SIZE, "it", BlockCache())
    with pytest.raises(StorageUnavailableError, match="S3 is away"):
        file.read(1)
    assert file.read(1) == b""
    assert requested == [0]


@pytest.mark.parametrize("stop", [KeyboardInterrupt("now"), StorageUnavailableError("S3 is away.")])
def test_an_exception_that_stops_a_read_passes_through_pyav_unchanged(
    stop: BaseException, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = make_source(tmp_path / "it.mp4", sound=None).read_bytes()
    calls = 0

    def fetch(start: int, end: int) -> bytes:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise stop
        return data[start:end]

    file = RangeFile(fetch, len(data), "it", BlockCache(limit=0))
    with pytest.raises(type(stop)) as raised, source_errors("it"), av.open(file, "r") as container:
        for _ in container.demux():
            pass
    assert raised.value is stop
    assert "dropped" not in capfd.readouterr().err


def test_the_length_of_an_index_is_read_from_its_first_bytes() -> None:
    before = pack(">I4s8x", 16, b"ftyp")
    assert index_length(before + pack(">I4s", 5000, b"moov") + b"and so on") == 16 + 5000
    assert index_length(pack(">I4sQ", 1, b"moov", 1 << 33)) == 1 << 33
    assert index_length(before + pack(">I4s", 5000, b"mdat") + b"and so on") == 0
    assert index_length(b"\x47 is no box at all, but a transport stream") == 0
