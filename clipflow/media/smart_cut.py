"""Smart cuts: only the partial groups of pictures at a segment's ends are encoded, the rest copied.

The pictures from one IDR picture to the next refer to no others. If all packets before an IDR
picture are also shown before it, and none from it on is, then the packets between two such IDR
pictures are exactly the frames between their times, and copying them is exact. If the span has no
such range, or the result fails verification, the whole segment is encoded.
"""

# PyAV's Packet takes a type argument for the type checker only.
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
from clipflow.machine import Machine
from clipflow.media import encode, h264
from clipflow.media.encode import encode_segment
from clipflow.media.h264 import NalType, ParameterSets, length_size, parameter_sets
from clipflow.media.isolation import isolated
from clipflow.media.mux import PacketRun, encoded_run, to_ticks, write_segment
from clipflow.media.output_format import OutputFormat
from clipflow.media.probe import Probe
from clipflow.media.source_errors import source_errors
from clipflow.media.window import Window, sub_window, video_packets

logger = logging.getLogger(__name__)


_SLICES = (NalType.SLICE, NalType.IDR_SLICE)
# Data partitions, and layers for other decoders: H.264's table 7-1.
_UNSUPPORTED_TYPES = (2, 3, 4, 14, 15, 19, 20, 21)


@dataclass(frozen=True, slots=True)
class PacketInfo:
    """One packet: its presentation time in seconds from the span's start, and if it is an IDR."""

    time: Fraction
    is_idr: bool


@dataclass(frozen=True)
class CopyRange:
    """The window's packets to copy: `first ≤ n < last`, in decode order.

    `before`, `copied` and `after` are frame times in seconds from the span's start. The frames
    before are decoded from packet `lead` on, those after from packet `last` on.
    """

    lead: int
    first: int
    last: int
    before: tuple[Fraction, ...]
    copied: tuple[Fraction, ...]
    after: tuple[Fraction, ...]


def copy_range(window: Window, sets: ParameterSets) -> CopyRange:
    """The longest range of the window that can be copied. Raises ValueError if there is none."""
    with av.open(str(window.path)) as container:
        header = container.streams.video[0].codec_context.extradata or b""
        if parameter_sets(header) != sets:
            raise ValueError("the window has other parameter sets than the source")
        size = length_size(header)
        packets = [_packet_info(packet, window, sets, size) for packet in video_packets(container)]
    return _longest_range(packets, window)


def _packet_info(packet: Packet[Any], window: Window, sets: ParameterSets, size: int) -> PacketInfo:
    kinds = []
    for unit in h264.nal_units(bytes(packet), size):
        kind = h264.nal_type(unit)
        if kind in (NalType.SPS, NalType.PPS) and not sets.has(unit):
            raise ValueError("the source changes its parameter sets")
        if kind in _UNSUPPORTED_TYPES:
            raise ValueError(f"the source has NAL units of type {kind}")
        kinds.append(kind)
    slices = {kind for kind in kinds if kind in _SLICES}
    if len(slices) != 1:
        raise ValueError("a packet is not one picture")
    assert packet.pts is not None
    time = packet.pts * packet.time_base - window.origin
    return PacketInfo(time, slices == {NalType.IDR_SLICE})


def _longest_range(packets: Sequence[PacketInfo], window: Window) -> CopyRange:
    times, end = [packet.time for packet in packets], window.span.duration
    if sorted(time for time in times if 0 <= time < end) != list(window.frames):
        raise ValueError("the window's packets are not the span's frames")
    boundaries = _clean_idrs(packets)
    starts = [place for place in boundaries if times[place] >= 0]
    latest = list(accumulate(times, max))
    ends = [place for place in boundaries if place and latest[place - 1] < end]
    if window.is_last and latest[-1] < end:
        ends.append(len(packets))
    if not starts or not ends or starts[0] >= ends[-1]:
        raise ValueError("no whole closed group of pictures lies in the span")
    first, last = starts[0], ends[-1]
    return CopyRange(
        lead=max((place for place in boundaries if times[place] <= 0), default=0),
        first=first,
        last=last,
        before=tuple(time for time in window.frames if time < times[first]),
        copied=tuple(times[first:last]),
        after=tuple(time for time in window.frames if time > latest[last - 1]),
    )


def _clean_idrs(packets: Sequence[PacketInfo]) -> list[int]:
    """Numbers of IDR pictures that separate all frames shown before from all shown after."""
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


_MAX_LABEL = 200


@dataclass(frozen=True)
class CutResult:
    """How a segment was made; `why` is the reason if it was encoded, `copied` counts frames."""

    way: Literal["copied", "encoded"]
    why: str = ""
    copied: int = 0

    @property
    def label(self) -> str:
        """`smart`, or `encoded: ` and the reason: ASCII, as metadata must be, and short."""
        if self.way == "copied":
            return "smart"
        label = f"encoded: {' '.join(self.why.split())}"
        return label.encode("ascii", "replace").decode()[:_MAX_LABEL]


@dataclass(frozen=True)
class _Work:
    """The inputs that all steps of one cut share."""

    window: Window
    source: Probe
    target: OutputFormat
    scratch: Path
    machine: Machine

    @property
    def pixels(self) -> int:
        return self.target.width * self.target.height


def smart_cut(
    window: Window, source: Probe, target: OutputFormat, path: Path, machine: Machine
) -> CutResult:
    """Make the segment at `path` from `window`: H.264 and FLAC, every frame of the span.

    Raises the errors of `encode_segment`.
    """
    if target.copied is None:
        encode_segment(window, source, target, path, machine)
        return CutResult("encoded", target.reencode_reason)
    with tempfile.TemporaryDirectory(prefix="cut-", dir=path.parent) as scratch:
        work = _Work(window, source, target, Path(scratch), machine)
        try:
            with source_errors(source.name):
                if window.sizes_vary:
                    raise MediaRefusedError("its pictures are of several sizes")
                middle = isolated(source.name, _middle, window, target.copied)
                _copy(work, target.copied, middle, path)
            return CutResult("copied", copied=len(middle.copied))
        except MediaRefusedError as refusal:
            why = refusal.message
        logger.info("%s of %s is encoded: %s", window.span, source.name, why)
        _encode(work, target.copied, path)
        return CutResult("encoded", why)


def _middle(window: Window, sets: ParameterSets) -> CopyRange:
    try:
        return copy_range(window, sets)
    except ValueError as error:
        raise MediaRefusedError(str(error)) from None


def _copy(work: _Work, sets: ParameterSets, middle: CopyRange, path: Path) -> None:
    window, scratch = work.window, work.scratch
    copied = PacketRun(window.path, middle.first, tuple(map(to_ticks, middle.copied)))
    head = _edge(work, (middle.lead, middle.first), middle.before, "head")
    tail = _edge(work, (middle.last, None), middle.after, "tail")
    runs = [*head, copied, *tail]
    # Also a segment that is copied as a whole needs the encoder's parameter sets in its header,
    # because all segments of a clip share one header. Encoding one frame provides them.
    alone = (middle.first, middle.first + 1), middle.copied[:1]
    like = (head or tail or _edge(work, *alone, "alone"))[0].path
    audio = encode.encode_sound(
        window, work.source, work.target, scratch / "sound.mp4", work.machine
    )
    isolated(work.source.name, _write, work, sets, runs, like, audio, path)
    planned = sorted(pts for run in runs for pts in run.shown)
    encode.verify_frames(path, planned, work.pixels, scratch, work.machine)


def _edge(
    work: _Work, packets: tuple[int, int | None], frames: Sequence[Fraction], name: str
) -> list[PacketRun]:
    """Encode `frames`, decoded from the window's packets in `packets`; no run without frames."""
    if not frames:
        return []
    scratch = work.scratch
    only = scratch / f"{name}.nut"
    part = isolated(work.source.name, sub_window, work.window, *packets, tuple(frames), only)
    path = encode.encode_picture(
        part, work.source, work.target, scratch / f"{name}.mp4", work.machine
    )
    return [encoded_run(path, frames)]


def _encode(work: _Work, sets: ParameterSets, path: Path) -> None:
    whole = work.scratch / "whole.mp4"
    encode_segment(work.window, work.source, work.target, whole, work.machine)
    runs = [encoded_run(whole, work.window.frames)]
    isolated(work.source.name, _write, work, sets, runs, whole, whole, path)


def _write(
    work: _Work, sets: ParameterSets, runs: Sequence[PacketRun], like: Path, audio: Path, path: Path
) -> None:
    with av.open(str(like)) as model:
        ours = parameter_sets(model.streams.video[0].codec_context.extradata or b"")
    header = sets.combined_with(ours).header()
    write_segment(runs, like, header, audio, to_ticks(work.window.span.duration), path)
