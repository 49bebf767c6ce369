"""Which packets of a window can be copied: the rule, on the packets' own times and NAL units.

Between two IDR pictures nothing refers outside. Where moreover every packet up to one is shown
before it, and every packet from it on is not, the packets between two such pictures are just the
frames between their times: a copy of them is whole, and exact.
"""

# PyAV's Packet takes a type argument for the type checker only.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Any

import av
from av.packet import Packet

from clipflow.media import nal
from clipflow.media.nal import Unit
from clipflow.media.parameter_sets import ParameterSets, length_size, parameter_sets
from clipflow.media.window import Window, pictures

_SLICES = (Unit.SLICE, Unit.IDR_SLICE)
# Data partitions, and layers for other decoders: H.264's table 7-1.
_FOREIGN = (2, 3, 4, 14, 15, 19, 20, 21)


@dataclass(frozen=True, slots=True)
class Frame:
    """One packet: when it is shown, in seconds from the span's start, and whether it is an IDR."""

    time: Fraction
    is_idr: bool


@dataclass(frozen=True)
class Middle:
    """What is copied: the window's packets `first ≤ n < last`, in decode order.

    The frames before are decoded from packet `lead` on, those after from packet `last` on.
    """

    lead: int
    first: int
    last: int
    before: tuple[Fraction, ...]
    copied: tuple[Fraction, ...]
    after: tuple[Fraction, ...]


def middle_of(window: Window, sets: ParameterSets) -> Middle:
    """The longest stretch of the window that may be copied. Raises ValueError saying why none."""
    with av.open(str(window.path)) as container:
        header = container.streams.video[0].codec_context.extradata or b""
        if parameter_sets(header) != sets:
            raise ValueError("the window has other parameter sets than the source")
        size = length_size(header)
        packets = [_frame(packet, window, sets, size) for packet in pictures(container)]
    return _longest(packets, window)


def _frame(packet: Packet[Any], window: Window, sets: ParameterSets, size: int) -> Frame:
    kinds = []
    for unit in nal.units(bytes(packet), size):
        kind = nal.unit_type(unit)
        if kind in (Unit.SPS, Unit.PPS) and not sets.has(unit):
            raise ValueError("the source changes its parameter sets")
        if kind in _FOREIGN:
            raise ValueError(f"the source has NAL units of type {kind}")
        kinds.append(kind)
    slices = {kind for kind in kinds if kind in _SLICES}
    if len(slices) != 1:
        raise ValueError("a packet is not one picture")
    assert packet.pts is not None
    time = packet.pts * packet.time_base - window.origin
    return Frame(time, slices == {Unit.IDR_SLICE})


def _longest(packets: Sequence[Frame], window: Window) -> Middle:
    times, end = [packet.time for packet in packets], window.span.duration
    if sorted(time for time in times if 0 <= time < end) != list(window.frames):
        raise ValueError("the window's packets are not the span's frames")
    borders = _borders(packets)
    starts = [place for place in borders if times[place] >= 0]
    latest = list(accumulate(times, max))
    ends = [place for place in borders if place and latest[place - 1] < end]
    if window.is_last and latest[-1] < end:
        ends.append(len(packets))
    if not starts or not ends or starts[0] >= ends[-1]:
        raise ValueError("no whole closed group of pictures lies in the span")
    first, last = starts[0], ends[-1]
    return Middle(
        lead=max((place for place in borders if times[place] <= 0), default=0),
        first=first,
        last=last,
        before=tuple(time for time in window.frames if time < times[first]),
        copied=tuple(times[first:last]),
        after=tuple(time for time in window.frames if time > latest[last - 1]),
    )


def _borders(packets: Sequence[Frame]) -> list[int]:
    """Where an IDR picture parts what is shown before it from what is shown after."""
    times = [packet.time for packet in packets]
    latest = list(accumulate(times, max))
    onwards = list(accumulate(reversed(times), min))[::-1]
    return [
        place
        for place, packet in enumerate(packets)
        if packet.is_idr
        and onwards[place] == packet.time
        and (place == 0 or latest[place - 1] < packet.time)
    ]
