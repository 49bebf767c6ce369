"""Pauses between pictures in containers that do not store the time of each picture.

In a program stream, a packet in which several small pictures begin has the time of the first. In
Ogg, a page has the time at which its last picture ends. libavformat assumes that a picture without
a time begins when the one before it has been shown for as long as usual. If there is a pause before
the next time that is stored, it may be anywhere between these pictures.
"""

from collections.abc import Container, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple, cast

from av.container import Flags

from clipflow.media.source import Source
from clipflow.media.source_errors import source_errors
from clipflow.media.streams import seek_before, video_stream

# A step between two pictures that is longer than a picture by this factor is a pause.
_PAUSE = Fraction(3, 2)


class Decoded(NamedTuple):
    """When a picture is decoded, and for how long it is shown, in units of its time base."""

    time: int
    duration: int

    def is_followed_by(self, time: int) -> bool:
        """Whether a picture at `time` is the next one, without a pause."""
        return self.time < time <= self.time + _PAUSE * self.duration


def have_pauses(pictures: Sequence[Decoded]) -> bool:
    """Whether there is a pause between the pictures, which are in decode order."""
    return not all(one.is_followed_by(other.time) for one, other in pairwise(pictures))


def are_doubtful(pictures: Sequence[Decoded], stored: Container[int], first: int, end: int) -> bool:
    """Whether the pictures at `first ≤ time < end` may be shown at other times.

    `stored` has those times that the container stores.
    """
    known = first
    for picture, (time, _) in pairwise(pictures):
        known = picture.time if picture.time in stored else known
        if picture.is_followed_by(time):
            continue
        # A time that does not increase belongs to another picture than the one that it is given.
        is_wrong = time <= picture.time
        begins = picture.time - 2 * picture.duration if is_wrong else known
        ends = picture.time + picture.duration if is_wrong else time
        is_known = known == picture.time and time in stored and not is_wrong
        if begins < end and ends > first and not is_known:
            return True
    return False


def stored_times(
    source: Source, zero: Fraction, begin: Fraction, end: Fraction, last: int
) -> set[int]:
    """The decoding times of pictures that a program stream stores, from `begin` to `last`.

    `begin` and `end` are in seconds from time zero, which is at `zero` on the source's own clock.
    """
    found = set[int]()
    with source_errors(source.name), source.open(begin, end) as container:
        container.flags |= cast(int, Flags.no_fillin.value)
        if begin > 0:
            seek_before(container, zero + begin, source.name)
        else:
            # libavformat has already added times to the packets that it read to open the source.
            container.seek(0, unsupported_byte_offset=True)
        for packet in container.demux(video_stream(container, source.name)):
            if packet.dts is not None:
                found.add(packet.dts)
                if packet.dts > last:
                    break
    return found
