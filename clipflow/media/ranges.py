"""A remote object as a file, read by range, and what a process keeps of the indexes it has read.

A container is opened by reading its index, then read where that says. The blocks of the first are
kept and shared, so that every later opening of the same bytes needs no request; the second is
asked for in one piece where the index tells how far it goes, else in steps.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from math import inf
from struct import unpack_from
from threading import Lock
from typing import NamedTuple

# Reads the bytes `start ≤ place < end`, all of them.
Fetch = Callable[[int, int], bytes]

# Bytes. The unit of what is kept, and what is asked for first at a new place of an index: the
# header of a fragment is smaller.
BLOCK = 1 << 12
# What is asked for first at any other place, and how far ahead reading goes on without a gap.
BUFFER = 1 << 15
# What one request brings, and a file holds, at most.
LARGEST = 4 << 20
_KEPT = 64 << 20
# While a container is opened, a request may bring so much more than is needed.
_STEP = 1 << 18
# A run of reads asks for so many times what it has had, and beyond a step, for this part of it.
_GROWTH, _PART = 4, 16


class ByteRange(NamedTuple):
    """Bytes `start ≤ place < end` of an object."""

    start: int
    end: int


class InterruptedReadError(Exception):
    """Carries what is no Exception (a cancellation, Ctrl-C) through PyAV, which would lose it."""


class BlockCache:
    """Blocks by the object they are of: at most `limit` bytes, the least recently used go first."""

    def __init__(self, limit: int = _KEPT) -> None:
        self._limit = limit
        self._size = 0
        self._blocks: OrderedDict[tuple[Hashable, int], bytes] = OrderedDict()
        self._lock = Lock()
        # Few enough to hold for good; two objects that share one only wait for each other.
        self._fetching = [Lock() for _ in range(64)]

    def get(self, identity: Hashable, number: int) -> bytes | None:
        with self._lock:
            block = self._blocks.get((identity, number))
            if block is not None:
                self._blocks.move_to_end((identity, number))
            return block

    def put(self, identity: Hashable, number: int, block: bytes) -> None:
        with self._lock:
            self._size += len(block) - len(self._blocks.pop((identity, number), b""))
            self._blocks[identity, number] = block
            while self._size > self._limit:
                self._size -= len(self._blocks.popitem(last=False)[1])

    def fetching(self, identity: Hashable) -> Lock:
        """Held while blocks of an object are fetched, so that nobody fetches them twice."""
        return self._fetching[hash(identity) % len(self._fetching)]

    def clear(self) -> None:
        with self._lock:
            self._blocks.clear()
            self._size = 0


# That of this process.
BLOCK_CACHE = BlockCache()


class RangeFile:
    """The file that PyAV reads. Of one thread; only what is kept is shared.

    `cache_limit` is up to how long a run of reads, in bytes, is kept: endless while a container is
    opened. Raises what `fetch` raises, once: PyAV hands it on as soon as libavformat returns. Until
    then the file is at its end, since PyAV prints every further exception.
    """

    def __init__(
        self, fetch: Fetch, size: int, identity: Hashable, kept: BlockCache = BLOCK_CACHE
    ) -> None:
        self.cache_limit = inf
        self._fetch, self._size, self._identity, self._kept = fetch, size, identity, kept
        self._place = 0
        # Of the run of reads, nearly without a gap, that goes on.
        self._begun = self._reached = 0
        # What was fetched last, each piece with where it begins.
        self._held: list[tuple[int, memoryview]] = []
        self._expected: list[ByteRange] = []
        self._step = _STEP
        self._failed = False

    def expect(self, extents: list[ByteRange], step: int) -> None:
        """Keep no more, and read `extents` in large pieces, what lies elsewhere in small steps."""
        self.cache_limit = 0
        self._expected, self._step = extents, min(step, LARGEST // _GROWTH)

    @property
    def run(self) -> ByteRange:
        """What was read, nearly without a gap, up to here."""
        return ByteRange(self._begun, self._reached)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = max(0, offset + (0, self._place, self._size)[whence])
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, none at the end."""
        if self._failed or self._place >= self._size:
            return b""
        if not self._begun <= self._place <= self._reached + self._gap():
            self._begun = self._reached = self._place
        try:
            data = self._here(count) or self._asked(count)
        except BaseException as error:
            self._failed = True
            if isinstance(error, Exception):
                raise
            raise InterruptedReadError from error
        self._place += len(data)
        self._reached = max(self._reached, self._place)
        return data

    def _here(self, count: int) -> bytes:
        """What needs no request, else nothing."""
        number, offset = divmod(self._place, BLOCK)
        if block := self._kept.get(self._identity, number):
            return block[offset : offset + count]
        for held in self._held:
            start, piece = held
            if start <= self._place < start + len(piece):
                # The least recently used is the first to go.
                self._held.remove(held)
                self._held.append(held)
                return bytes(piece[self._place - start :][:count])
        return b""

    def _asked(self, count: int) -> bytes:
        """What one request brings."""
        if self._place - self._begun >= self.cache_limit:
            return self._hold(count)
        with self._kept.fetching(self._identity):
            # Another thread may have brought it meanwhile.
            return self._here(count) or self._keep(count)

    def _hold(self, count: int) -> bytes:
        start, end = self._wanted(max(BUFFER, self._step // _GROWTH))
        while self._held and sum(len(piece) for _, piece in self._held) + end - start > LARGEST:
            self._held.pop(0)
        piece = memoryview(self._bring(start, end))
        self._held.append((start, piece))
        return bytes(piece[self._place - start :][:count])

    def _keep(self, count: int) -> bytes:
        start, end = (place // BLOCK * BLOCK for place in self._wanted(BLOCK))
        piece = self._bring(start, end + BLOCK)
        for at in range(0, len(piece), BLOCK):
            self._kept.put(self._identity, (start + at) // BLOCK, piece[at : at + BLOCK])
        here = piece[self._place - start :]
        if self._begun == self._place and (length := index_length(here)):
            self._expected = [ByteRange(self._place, self._place + length)]
        return here[:count]

    def _bring(self, start: int, end: int) -> bytes:
        end = min(end, self._size)
        self._reached = max(self._reached, end)
        return self._fetch(start, end)

    def _wanted(self, first: int) -> ByteRange:
        """What to request for the sake of this place; at a new one, at least `first` bytes."""
        # Streams lie in turns: what was gone past will be read as well.
        start = min(self._place, self._reached)
        for extent in self._expected:
            if extent.start <= self._place < extent.end:
                # Room for a piece of each, and for one that is just being left.
                most = LARGEST if len(self._expected) == 1 else LARGEST // (len(self._expected) + 1)
                return ByteRange(max(start, extent.start), min(extent.end, self._place + most))
        run = self._place - self._begun
        more = min(run * _GROWTH, max(self._step, run // _PART), LARGEST)
        return ByteRange(start, self._place + max(first, more))

    def _gap(self) -> int:
        """How far ahead may be gone without a new run: further, the longer this one is."""
        return max(BUFFER, min(self._reached - self._begun, self._step))


def index_length(data: bytes) -> int:
    """Bytes from the first of `data` to the end of the `moov` that begins in it, 0 without one.

    `data` must begin with a box of ISO/IEC 14496-12 (4.2): four bytes of length, four of type, and
    where the length is 1, eight more with the true one.
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
