"""A segment whose middle is copied: only the partial groups of pictures at its ends are encoded.

Between two IDR pictures nothing refers outside. Where moreover every packet up to one is shown
before it, and every packet from it on is not, the packets between two such pictures are exactly the
frames between their times: a copy of them is complete, and exact. Where no such stretch exists, or
where the result fails its check, the whole segment is encoded.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import av
from av.packet import Packet

from clipflow.domain.errors import MediaRefusedError
from clipflow.media import encode, h264
from clipflow.media.encode import cut
from clipflow.media.form import Form
from clipflow.media.h264 import ParameterSets, Unit, length_size, parameter_sets
from clipflow.media.mux import Run, encoded, ticks, write
from clipflow.media.probe import Probe
from clipflow.media.source import reading
from clipflow.media.window import Window, part_of, pictures

# PyAV's Packet takes a type argument for the type checker only.


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
    for unit in h264.units(bytes(packet), size):
        kind = h264.unit_type(unit)
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


_LOG = logging.getLogger(__name__)
_LABEL = 200


@dataclass(frozen=True)
class Cutting:
    """Which way a segment was made, and of an encoded one why; `copied` counts frames."""

    way: Literal["copied", "encoded"]
    why: str = ""
    copied: int = 0

    @property
    def label(self) -> str:
        """`smart`, or `encoded` and why: ASCII, as metadata must be, and at most 200 characters."""
        if self.way == "copied":
            return "smart"
        told = f"encoded: {' '.join(self.why.split())}"
        return told.encode("ascii", "replace").decode()[:_LABEL]


@dataclass(frozen=True)
class _Work:
    """What the steps of one cut share."""

    window: Window
    source: Probe
    form: Form
    scratch: Path
    threads: int

    @property
    def pixels(self) -> int:
        return self.form.width * self.form.height


def smart_cut(window: Window, source: Probe, form: Form, path: Path, threads: int) -> Cutting:
    """Make the segment at `path` from `window`: H.264 in the form, FLAC, every frame of the span.

    Raises what `cut` raises.
    """
    if form.copied is None:
        cut(window, source, form, path, threads)
        return Cutting("encoded", form.unfit)
    with tempfile.TemporaryDirectory(prefix="cut-", dir=path.parent) as scratch:
        work = _Work(window, source, form, Path(scratch), threads)
        try:
            with reading(source.name):
                middle = _middle(window, form.copied)
                _copy(work, form.copied, middle, path)
            return Cutting("copied", copied=len(middle.copied))
        except MediaRefusedError as refusal:
            why = refusal.message
        _LOG.info("%s of %s is encoded: %s", window.span, source.name, why)
        _encode(work, form.copied, path)
        return Cutting("encoded", why)


def _middle(window: Window, sets: ParameterSets) -> Middle:
    try:
        return middle_of(window, sets)
    except ValueError as error:
        raise MediaRefusedError(str(error)) from None


def _copy(work: _Work, sets: ParameterSets, middle: Middle, path: Path) -> None:
    window, scratch = work.window, work.scratch
    copied = Run(window.path, middle.first, tuple(map(ticks, middle.copied)))
    head = _edge(work, (middle.lead, middle.first), middle.before, "head")
    tail = _edge(work, (middle.last, None), middle.after, "tail")
    runs = [*head, copied, *tail]
    # Also a segment that is copied wholly has our parameter sets, as its clip's others have.
    alone = (middle.first, middle.first + 1), middle.copied[:1]
    like = (head or tail or _edge(work, *alone, "alone"))[0].path
    sound = encode.encode_sound(window, work.source, work.form, scratch / "sound.mp4")
    _write(work, sets, runs, like, sound, path)
    planned = sorted(pts for run in runs for pts in run.shown)
    encode.refuse_unless_it_shows(path, planned, work.pixels, scratch, work.threads)


def _edge(
    work: _Work, packets: tuple[int, int | None], frames: Sequence[Fraction], name: str
) -> list[Run]:
    """The frames encoded, from the window's packets between those two numbers; if there are any."""
    if not frames:
        return []
    scratch = work.scratch
    part = part_of(work.window, *packets, tuple(frames), scratch / f"{name}.nut")
    path = encode.encode_picture(
        part, work.source, work.form, scratch / f"{name}.mp4", work.threads
    )
    return [encoded(path, frames)]


def _encode(work: _Work, sets: ParameterSets, path: Path) -> None:
    whole = work.scratch / "whole.mp4"
    cut(work.window, work.source, work.form, whole, work.threads)
    _write(work, sets, [encoded(whole, work.window.frames)], whole, whole, path)


def _write(
    work: _Work, sets: ParameterSets, runs: Sequence[Run], like: Path, sound: Path, path: Path
) -> None:
    with av.open(str(like)) as model:
        ours = parameter_sets(model.streams.video[0].codec_context.extradata or b"")
    header = sets.and_those_of(ours).header()
    write(runs, like, header, sound, ticks(work.window.span.duration), path)
