"""A file over ranges gives the bytes of the object, and asks for little more than is read."""

from pathlib import Path
from random import Random
from struct import pack

import av
import pytest

from clipflow.domain.errors import StorageUnavailableError
from clipflow.media.ranges import BLOCK, LARGEST, BlockCache, ByteRange, RangeFile, index_length
from clipflow.media.source import source_errors
from tests.made_media import make_source

SIZE = 24 << 20


class Remote:
    """An object in memory that notes what of it was asked for."""

    def __init__(self, size: int = SIZE) -> None:
        self.data = Random(1).randbytes(size)
        self.asked: list[ByteRange] = []

    def fetch(self, start: int, end: int) -> bytes:
        self.asked.append(ByteRange(start, end))
        assert 0 <= start < end <= len(self.data)
        return self.data[start:end]

    def file(self, kept: BlockCache | None = None, *, opened: bool = True) -> RangeFile:
        made = RangeFile(self.fetch, len(self.data), "it", BlockCache() if kept is None else kept)
        if opened:
            made.expect([], 1 << 18)
        return made

    @property
    def bytes_asked(self) -> int:
        return sum(end - start for start, end in self.asked)


def read(file: RangeFile, start: int, count: int) -> bytes:
    """As PyAV reads: a buffer at a time, and less than that where there is less."""
    file.seek(start)
    data = b""
    while len(data) < count and (more := file.read(min(1 << 15, count - len(data)))):
        data += more
    return data


@pytest.mark.parametrize("opened", [True, False])
def test_every_place_reads_as_it_is(opened: bool) -> None:
    remote, chance = Remote(3 << 20), Random(2)
    file = remote.file(opened=opened)
    for _ in range(300):
        start, count = chance.randrange(len(remote.data)), chance.choice([1, 5000, 300_000])
        assert read(file, start, count) == remote.data[start : start + count]
    file.seek(0, 2)
    assert file.tell() == len(remote.data)
    assert file.read(1) == b""


def test_what_is_expected_is_asked_for_once_in_large_pieces_and_no_further() -> None:
    remote = Remote()
    file = remote.file()
    wanted = ByteRange(1_000_001, 1_000_001 + 2 * LARGEST + 77)
    file.expect([wanted], 1 << 18)
    read(file, wanted.start, wanted.end - wanted.start)
    assert len(remote.asked) == 3
    assert remote.bytes_asked == wanted.end - wanted.start


def test_streams_far_apart_are_read_in_turns_and_nothing_twice() -> None:
    remote = Remote()
    file = remote.file()
    picture, sound = ByteRange(0, 12 << 20), ByteRange(20 << 20, 21 << 20)
    file.expect([picture, sound], 1 << 18)
    for turn in range(64):
        read(file, picture.start + turn * (12 << 14), 12 << 14)
        read(file, sound.start + turn * (1 << 14), 1 << 14)
    assert remote.bytes_asked == 13 << 20
    assert len(remote.asked) < 14


def test_without_an_index_a_run_is_read_in_steps() -> None:
    remote = Remote()
    read(remote.file(), 5_000_000, 2_000_000)
    assert len(remote.asked) <= 10
    assert remote.bytes_asked <= 2_000_000 + (1 << 18)


def test_what_was_read_while_opening_is_there_for_the_next() -> None:
    remote, kept = Remote(), BlockCache()
    for _ in range(2):
        file = remote.file(kept, opened=False)
        read(file, 0, 100_000)
        read(file, SIZE - 50_000, 50_000)
    assert remote.bytes_asked < 600_000
    first, asked = len(remote.asked), remote.bytes_asked
    kept.clear()
    read(remote.file(kept, opened=False), 0, 1)
    assert remote.bytes_asked > asked
    assert len(remote.asked) == first + 1


def test_no_more_is_kept_than_may_be_and_the_least_used_goes_first() -> None:
    kept = BlockCache(limit=3 * BLOCK)
    block = bytes(BLOCK)
    for number in range(3):
        kept.put("it", number, block)
    assert kept.get("it", 0)
    kept.put("other", 0, block)
    assert [bool(kept.get("it", number)) for number in range(3)] == [True, False, True]


def test_an_index_larger_than_what_may_be_kept_is_read_all_the_same() -> None:
    remote = Remote()
    file = remote.file(BlockCache(limit=2 * BLOCK), opened=False)
    assert read(file, 0, 2_000_000) == remote.data[:2_000_000]


def test_a_failure_ends_the_file_and_is_not_tried_again() -> None:
    asked = []

    def fetch(start: int, end: int) -> bytes:
        asked.append(start)
        raise StorageUnavailableError("S3 is away.")

    file = RangeFile(fetch, SIZE, "it", BlockCache())
    with pytest.raises(StorageUnavailableError, match="S3 is away"):
        file.read(1)
    assert file.read(1) == b""
    assert asked == [0]


@pytest.mark.parametrize("stop", [KeyboardInterrupt("now"), StorageUnavailableError("S3 is away.")])
def test_what_stops_a_read_comes_out_of_pyav_as_it_went_in(
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


def test_the_length_of_an_index_is_known_from_its_first_bytes() -> None:
    before = pack(">I4s8x", 16, b"ftyp")
    assert index_length(before + pack(">I4s", 5000, b"moov") + b"and so on") == 16 + 5000
    assert index_length(pack(">I4sQ", 1, b"moov", 1 << 33)) == 1 << 33
    assert index_length(before + pack(">I4s", 5000, b"mdat") + b"and so on") == 0
    assert index_length(b"\x47 is no box at all, but a transport stream") == 0
