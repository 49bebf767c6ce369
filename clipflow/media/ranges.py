"""A remote object as a file that is read by byte range, with a cache of index blocks.

Opening a container reads its index; reading a span then follows the offsets in that index. Blocks
that are read while a container is opened are cached and shared, so that opening the same object
again needs no request. The media data of a span is requested in one piece if the index gives
its extent, and otherwise in steps.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from math import inf
from struct import unpack_from
from threading import Lock
from typing import NamedTuple, Protocol

# Returns all bytes of the object at positions `start ≤ position < end`.
Fetch = Callable[[int, int], bytes]

# Bytes in a cached block, which is also the size of the first request at a new position of an
# index: the header of a fragment is smaller.
BLOCK = 1 << 12
# Bytes in the first request at any other position, and the largest gap within a run of reads.
BUFFER = 1 << 15
# The most bytes that one request fetches and that one file keeps in memory.
LARGEST = 4 << 20
_CACHE_BYTES = 64 << 20
# Bytes that a request may fetch beyond the need of the reader while a container is opened.
_STEP = 1 << 18
# A request of a run of reads fetches `_GROWTH` times the length of the run so far, up to one step,
# and beyond one step the `_PART`-th part of that length.
_GROWTH, _PART = 4, 16


class ByteRange(NamedTuple):
    """The bytes `start ≤ position < end` of an object."""

    start: int
    end: int


class InterruptedReadError(Exception):
    """Carries a BaseException (a cancellation, Ctrl-C) through PyAV, which would swallow it."""


class CacheOwner(Protocol):
    """The process whose blocks a cache in another process shares."""

    def hold(self, identity: Hashable, number: int) -> list[bytes]:
        """Lock the object's blocks; returns those that are cached from `number` on."""

    def release(self, identity: Hashable, blocks: Mapping[int, bytes]) -> None:
        """Cache `blocks`, by their numbers, and unlock."""


class BlockCache:
    """A thread-safe LRU cache of objects' blocks that holds at most `limit` bytes.

    `owner` is set in a process that has only a part of another one's cache.
    """

    def __init__(self, limit: int = _CACHE_BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._blocks: OrderedDict[tuple[Hashable, int], bytes] = OrderedDict()
        self._lock = Lock()
        # A fixed number of locks: two objects that share one only wait for each other.
        self._locks = [Lock() for _ in range(64)]
        self.owner: CacheOwner | None = None
        # What was put into this cache, and not yet into its owner's.
        self._added: dict[int, bytes] = {}

    def get(self, identity: Hashable, number: int) -> bytes | None:
        with self._lock:
            block = self._blocks.get((identity, number))
            if block is not None:
                self._blocks.move_to_end((identity, number))
            return block

    def put(self, identity: Hashable, number: int, block: bytes) -> None:
        with self._lock:
            if self.owner is not None:
                self._added[number] = block
            self._size += len(block) - len(self._blocks.pop((identity, number), b""))
            self._blocks[identity, number] = block
            while self._size > self._limit:
                self._size -= len(self._blocks.popitem(last=False)[1])

    def lock(self, identity: Hashable) -> Lock:
        """The lock to hold while fetching an object's blocks, so that no block is fetched twice."""
        return self._locks[hash(identity) % len(self._locks)]

    def blocks_from(self, identity: Hashable, number: int) -> list[bytes]:
        """The cached blocks from `number` on, up to the first that is missing or 4 MiB."""
        blocks = (self.get(identity, place) for place in range(number, number + LARGEST // BLOCK))
        return [block for block in takewhile(bool, blocks) if block]

    @contextmanager
    def fetching(self, identity: Hashable, number: int) -> Iterator[None]:
        """Hold the object's lock; afterwards, block `number` may be cached.

        Where the cache is another process's, the block and those after it come from there, and what
        is put into this cache is put into that one too.
        """
        if self.owner is None:
            with self.lock(identity):
                yield
            return
        for place, block in enumerate(self.owner.hold(identity, number), number):
            self.put(identity, place, block)
        self._added = {}
        try:
            yield
        finally:
            self.owner.release(identity, self._added)

    def clear(self) -> None:
        with self._lock:
            self._blocks.clear()
            self._size = 0


# The cache that all files of this process share.
BLOCK_CACHE = BlockCache()


class RangeFile:
    """A remote object as the file that PyAV reads. Not thread-safe; only the cache is shared.

    Reads are cached until a run of them exceeds `cache_limit` bytes; there is no limit while a
    container is opened. An error of `fetch` is raised once: PyAV passes it on as soon as
    libavformat returns. Until then reads return no bytes, since PyAV prints every further
    exception.
    """

    def __init__(
        self, fetch: Fetch, size: int, identity: Hashable, cache: BlockCache = BLOCK_CACHE
    ) -> None:
        self.cache_limit = inf
        self._fetch, self._size, self._identity, self._cache = fetch, size, identity, cache
        self._position = 0
        # Bounds of the current run of reads, which has no gap larger than `_gap()`.
        self._run_start = self._run_end = 0
        # The most recently fetched pieces, each with its position in the object.
        self._pieces: list[tuple[int, memoryview]] = []
        self._expected: list[ByteRange] = []
        self._step = _STEP
        self._failed = False

    def expect(self, extents: list[ByteRange], step: int) -> None:
        """Stop caching; read `extents` in large pieces and other bytes in steps of `step`."""
        self.cache_limit = 0
        self._expected, self._step = extents, min(step, LARGEST // _GROWTH)

    @property
    def run(self) -> ByteRange:
        """The bytes of the current run of reads."""
        return ByteRange(self._run_start, self._run_end)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, count: int) -> bytes:
        """Up to `count` bytes from the current position; none at the end of the object."""
        if self._failed or self._position >= self._size:
            return b""
        if not self._run_start <= self._position <= self._run_end + self._gap():
            self._run_start = self._run_end = self._position
        try:
            data = self._buffered(count) or self._request(count)
        except BaseException as error:
            self._failed = True
            if isinstance(error, Exception):
                raise
            raise InterruptedReadError from error
        self._position += len(data)
        self._run_end = max(self._run_end, self._position)
        return data

    def _buffered(self, count: int) -> bytes:
        """Up to `count` bytes that are in memory already; none if a request is needed."""
        number, offset = divmod(self._position, BLOCK)
        if block := self._cache.get(self._identity, number):
            return block[offset : offset + count]
        for entry in self._pieces:
            start, piece = entry
            if start <= self._position < start + len(piece):
                # Moved to the end, since the least recently used piece is dropped first.
                self._pieces.remove(entry)
                self._pieces.append(entry)
                return bytes(piece[self._position - start :][:count])
        return b""

    def _request(self, count: int) -> bytes:
        """Up to `count` bytes, fetched by one request."""
        if self._position - self._run_start >= self.cache_limit:
            return self._fetch_piece(count)
        with self._cache.fetching(self._identity, self._position // BLOCK):
            # Another thread may have fetched the block while this one waited for the lock.
            return self._buffered(count) or self._fetch_blocks(count)

    def _fetch_piece(self, count: int) -> bytes:
        start, end = self._next_range(max(BUFFER, self._step // _GROWTH))
        while self._pieces and sum(len(piece) for _, piece in self._pieces) + end - start > LARGEST:
            self._pieces.pop(0)
        piece = memoryview(self._fetch_range(start, end))
        self._pieces.append((start, piece))
        return bytes(piece[self._position - start :][:count])

    def _fetch_blocks(self, count: int) -> bytes:
        start, end = (place // BLOCK * BLOCK for place in self._next_range(BLOCK))
        piece = self._fetch_range(start, end + BLOCK)
        for at in range(0, len(piece), BLOCK):
            self._cache.put(self._identity, (start + at) // BLOCK, piece[at : at + BLOCK])
        data = piece[self._position - start :]
        if self._run_start == self._position and (length := index_length(data)):
            self._expected = [ByteRange(self._position, self._position + length)]
        return data[:count]

    def _fetch_range(self, start: int, end: int) -> bytes:
        end = min(end, self._size)
        self._run_end = max(self._run_end, end)
        return self._fetch(start, end)

    def _next_range(self, first: int) -> ByteRange:
        """The range to request at the current position; in a new run, `first` bytes or more."""
        # Streams are interleaved, so bytes that were skipped will be read as well.
        start = min(self._position, self._run_end)
        for extent in self._expected:
            if extent.start <= self._position < extent.end:
                # One piece of each extent fits in memory, and one that is no longer read.
                most = LARGEST if len(self._expected) == 1 else LARGEST // (len(self._expected) + 1)
                return ByteRange(max(start, extent.start), min(extent.end, self._position + most))
        run = self._position - self._run_start
        more = min(run * _GROWTH, max(self._step, run // _PART), LARGEST)
        return ByteRange(start, self._position + max(first, more))

    def _gap(self) -> int:
        """Bytes that a read may skip without starting a new run; more in a longer run."""
        return max(BUFFER, min(self._run_end - self._run_start, self._step))


def index_length(data: bytes) -> int:
    """Bytes from the first of `data` to the end of the `moov` that begins in it, 0 without one.

    `data` must begin with a box of ISO/IEC 14496-12 (4.2): four bytes of length, four of type, and,
    if the length is 1, eight more with the actual length.
    """
    at = 0
    while at + 16 <= len(data):
        length, kind = unpack_from(">I4s", data, at)
        if length == 1:
            length = unpack_from(">Q", data, at + 8)[0]
        if kind == b"moov":
            return at + int(length)
        if length < 8:
            break
        at += int(length)
    return 0
