"""Where in a file the packets of a span lie, as far as its container has an index."""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import av
from av.container import InputContainer
from av.index import IndexEntry
from av.stream import Stream

from clipflow.media.ranges import Extent

# Seconds by which an index may overshoot: cues are minutes apart in some files.
_COARSE = 10
# Bytes: parts nearer to each other than that are read as one.
_NEAR = 1 << 16


def extents(container: InputContainer, start: Fraction, end: Fraction) -> list[Extent]:
    """The bytes with the packets of all streams from a keyframe before `start` to `end`, joined.

    In seconds from the source's first frame, about. Empty where the index does not say.
    """
    picture = timed_by(container)
    if picture is None or picture.time_base is None:
        return []
    start, end = start + origin(picture), end + origin(picture)
    if (keyframe := _keyframe_before(picture, start)) is None:
        return []
    begins = min(start, keyframe.timestamp * picture.time_base)
    found = [_extent(stream, begins, end) for stream in container.streams]
    return joined([extent for extent in found if extent])


def timed_by(container: InputContainer) -> Stream | None:
    """The stream by which a container is sought: its picture, else its sound."""
    return container.streams.best("video") or container.streams.best("audio")


def origin(stream: Stream) -> Fraction:
    """When a stream begins, in seconds on the container's clock."""
    return (stream.start_time or 0) * Fraction(stream.time_base or 1)


def _keyframe_before(stream: Stream, time: Fraction) -> IndexEntry | None:
    """The last at or before `time`, in seconds on the container's clock, that the index knows."""
    entries = stream.index_entries
    found = entries.search_timestamp(int(time / Fraction(stream.time_base or 1)))
    return entries[found] if found >= 0 else None


def byte_rate(container: InputContainer, size: int, time: Fraction) -> Fraction:
    """About how many bytes of a file of `size` bytes a second takes, 0 where nothing says."""
    if container.duration:
        return Fraction(size * av.time_base, container.duration)
    picture = timed_by(container)
    found = _keyframe_before(picture, origin(picture) + time) if picture and time > 0 else None
    return found.pos / time if found else Fraction(0)


def _extent(stream: Stream, start: Fraction, end: Fraction) -> Extent | None:
    """`start` and `end` on the container's clock."""
    entries, base = stream.index_entries, Fraction(stream.time_base or 1)
    if not len(entries):
        return None
    first = entries[max(0, entries.search_timestamp(int(start / base), any_frame=True))]
    beyond = entries.search_timestamp(ceil(end / base), backward=False, any_frame=True)
    last = entries[beyond if beyond >= 0 else len(entries) - 1]
    if abs(last.timestamp * base - end) > _COARSE or last.pos < first.pos:
        return None
    return Extent(first.pos, last.pos + last.size)


def joined(parts: Sequence[Extent]) -> list[Extent]:
    """The same bytes in order, and near ones as one."""
    whole: list[Extent] = []
    for part in sorted(parts):
        if whole and part.start - whole[-1].end <= _NEAR:
            whole[-1] = Extent(whole[-1].start, max(whole[-1].end, part.end))
        else:
            whole.append(part)
    return whole
