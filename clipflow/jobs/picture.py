"""The ffmpeg command that renders one short from the video in a single pass.

The output is in BT.709 and has every frame of the moment once, at its own time. If the layout
changes within the moment, the stream is split into sections, which are laid out separately and
concatenated.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import av
import ffmpeg as command

from clipflow.captions.ass import burned_in
from clipflow.domain.layouts import Content
from clipflow.domain.removals import Timeline
from clipflow.jobs.brand import BrandParts, joined, with_logo, with_music
from clipflow.jobs.tighten import join_sound, keep_frames, kept_frames
from clipflow.media.encode import (
    CRF,
    PRESET,
    TIMESCALE,
    audio_filters,
    deinterlace,
    input_options,
    one_size,
    rotate,
    upright,
)
from clipflow.media.output_format import MATRICES, is_hdr, matrix_of, tone_map
from clipflow.media.probe import Probe
from clipflow.media.window import Window
from clipflow.reframe.crop import FramePlan, Section, cropped

SAMPLE_RATE = 48_000
_AUDIO_BITS = 160_000
# `subme=1` is the fastest subpixel motion search: a quarter less work for 5 % more bytes at the
# same quality (VMAF).
ENCODER = {"vcodec": "libx264", "preset": PRESET, "crf": CRF, "x264-params": "subme=1"}
# A blurred picture is made at this fraction of the size, since it has no detail.
_BLUR_DIVISOR, _BLUR_SIGMA = 6, 10
# Options of the scale filter: the whole picture within the size, or the size filled completely.
_INSIDE = {"force_original_aspect_ratio": "decrease", "force_divisible_by": 2}
_COVERING = {"force_original_aspect_ratio": "increase"}
# Dark and slow, because it must not distract. It changes so slowly that a few frames per second are
# enough. With a seed, every run renders the same gradient.
_GRADIENT = (
    "gradients=size=270x240:rate=10:nb_colors=3:c0=0x101820:c1=0x2a3d66:c2=0x5a2a66"
    ":x0=0:y0=0:x1=270:y1=240:speed=0.025:seed=1"
)


@dataclass(frozen=True)
class Background:
    """The beginning of the background video."""

    window: Window
    probe: Probe


@dataclass(frozen=True)
class Ingredients:
    """The inputs of a short of `size`: files on this machine, and the plan of its frames.

    `loudness` is the `normal_loudness` of the moment. `repeats` are the times, in
    seconds from its start, at which a frame is repeated; the file at `clock` has a frame at each of
    them. `timeline` has the parts of the window that remain if it is tightened; `plan` and
    `repeats` are on its time.
    """

    window: Window
    probe: Probe
    size: tuple[int, int]
    plan: FramePlan
    background: Background | None
    captions: Path
    loudness: float
    fonts: Path | None = None
    repeats: tuple[Fraction, ...] = ()
    clock: Path | None = None
    timeline: Timeline | None = None
    brand: BrandParts = field(default_factory=BrandParts)

    @property
    def frames(self) -> tuple[Fraction, ...]:
        """The times at which the source's frames are shown, in seconds from the short's start."""
        frames = self.window.frames
        return kept_frames(frames, self.timeline) if self.timeline else frames

    @property
    def duration(self) -> Fraction:
        """The length of the short in seconds, without intro and outro."""
        return self.timeline.duration if self.timeline else self.window.span.duration


def render_command(made_of: Ingredients, path: Path, threads: int) -> list[str]:
    """ffmpeg's arguments to render the short to `path`."""
    window = made_of.window
    # One thread each for decoding and filters keeps up with the encoder; more would cost 10 % more.
    content = command.input(str(window.path), threads=1, **input_options(window))
    sound = audio_filters(
        content["a:0"] if window.has_audio else None, window, SAMPLE_RATE, "stereo"
    )
    if made_of.timeline:
        sound = join_sound(sound, made_of.timeline, SAMPLE_RATE)
    duration, brand = made_of.duration, made_of.brand
    shown, heard = joined(
        _finished(_laid_out(_upright(content["v:0"], made_of), made_of), made_of),
        with_music(sound, made_of.loudness, brand.music, duration),
        brand,
        duration,
        sorted((*made_of.frames, *made_of.repeats)),
        made_of.size,
    )
    output = command.output(
        shown,
        heard,
        str(path),
        format="mp4",
        fps_mode="passthrough",
        enc_time_base=f"1:{TIMESCALE}",
        video_track_timescale=TIMESCALE,
        movie_timescale=SAMPLE_RATE,
        movflags="+faststart",
        map_metadata=-1,
        pix_fmt="yuv420p",
        acodec="aac",
        audio_bitrate=_AUDIO_BITS,
        **ENCODER,
        **{"profile:v": "high", "threads:v": threads},
    )
    return ["-filter_complex_threads", "1", *map(str, command.get_args(output)), "-copyts"]


def _finished(stream: Any, made_of: Ingredients) -> Any:
    captioned = burned_in(_repeated(stream, made_of), made_of.captions, made_of.fonts)
    return (
        with_logo(captioned, made_of.brand.logo)
        .filter("format", "yuv420p")
        .filter("setsar", 1)
        .filter("setparams", range="tv", color_primaries=1, color_trc=1, colorspace=1)
    )


def _repeated(stream: Any, made_of: Ingredients) -> Any:
    if made_of.clock is None:
        return stream
    return repeated(stream, made_of.frames, made_of.repeats, made_of.clock)


def _upright(stream: Any, made_of: Ingredients) -> Any:
    """The moment's frames at their own times from zero, upright, with square pixels."""
    probe = made_of.probe
    stream = upright(stream, made_of.window, probe)
    if made_of.timeline:
        stream = keep_frames(stream, made_of.window.frames, made_of.timeline)
    return stream if probe.square else stream.filter("scale", probe.width, probe.height)


def _laid_out(stream: Any, made_of: Ingredients) -> Any:
    sections = _first_frames(made_of)
    if len(sections) == 1:
        return _panes(stream, made_of, *sections[0])
    copies = stream.split()
    parts = []
    for number, (section, first) in enumerate(sections):
        ends = {"end_frame": sections[number + 1][1]} if number + 1 < len(sections) else {}
        part = copies[number].filter("trim", start_frame=first, **ends)
        parts.append(_panes(part, made_of, section, first).filter("format", "yuv420p"))
    joined = command.concat(*[part.filter("setsar", 1) for part in parts], v=1, a=0)
    # `concat` adds an offset to the times of each part, which is subtracted here.
    offsets = "ld(0)"
    for _, first in reversed(sections):
        start = f"{float(made_of.frames[first]):.6f}/TB"
        offsets = f"if(eq(N,{first}),PTS-{start},{offsets})"
    timed = joined.filter("setpts", f"st(0,{offsets});PTS-ld(0)")
    return timed.filter("settb", f"1/{TIMESCALE}")


def _first_frames(made_of: Ingredients) -> list[tuple[Section, int]]:
    """The sections that have frames, each with the number of its first frame."""
    shown = made_of.frames
    frames = [float(time - shown[0]) for time in shown]
    starts: list[tuple[Section, int]] = []
    for section in made_of.plan.sections:
        first = bisect_left(frames, section.start) if starts else 0
        if starts and starts[-1][1] == first:
            starts.pop()
        if first < len(frames):
            starts.append((section, first))
    # Sections are split by frame numbers, which are only known if each packet is one frame.
    return starts if made_of.window.frames_are_packets else [max(starts, key=_length)]


def _length(start: tuple[Section, int]) -> float:
    return start[0].end - start[0].start


def _panes(stream: Any, made_of: Ingredients, section: Section, first: int) -> Any:
    """The section's panes in one picture; `stream` begins with frame `first` of the moment."""
    frames, size = made_of.frames, made_of.size
    zero = float(frames[first] - frames[0])
    panes = section.layout.panes
    boxes = iter(zip(section.crops, section.boxes(size), strict=True))
    pictures = sum(pane.content is Content.PICTURE for pane in panes)
    content = pictures + len(section.crops)
    copies = stream.split() if content > 1 else {0: stream}
    used = 0
    placed: list[tuple[Any, tuple[int, int, int, int]]] = []
    for pane in panes:
        if pane.content is Content.BACKGROUND:
            box = pane.box(size)
            placed.append((_below(made_of.background, box), box))
            continue
        if pane.content is Content.PERSON:
            person = next(boxes, None)
            if person is None:
                continue
            crop, box = person
            shown = cropped(copies[used], crop.shifted(-zero))
            shown = _scaled(shown, made_of.probe, w=box[2], h=box[3])
        else:
            box = pane.box(size)
            shown = _whole(copies[used], made_of, box)
        used += 1
        placed.append((shown, box))
    (canvas, box), *others = placed
    if not others:
        return canvas
    canvas = canvas.filter("pad", *size, box[0], box[1])
    for shown, (left, top, _, _) in others:
        canvas = canvas.overlay(shown, x=left, y=top, shortest=1)
    return canvas


def _whole(stream: Any, made_of: Ingredients, box: tuple[int, int, int, int]) -> Any:
    """The whole picture in front of a blurred copy."""
    parts = _scaled(stream, made_of.probe, w=box[2], h=box[3], **_INSIDE).split()
    return _blurred(parts[0], box).overlay(parts[1], x="(W-w)/2", y="(H-h)/2")


def _scaled(stream: Any, probe: Probe, **size: Any) -> Any:
    """The stream in another size and in BT.709."""
    if is_hdr(probe.colour):
        # Scaled down before tone mapping, which is the most expensive filter.
        return tone_map(stream.filter("scale", **size), probe)
    given = MATRICES.get(matrix_of(probe), "auto")
    matrices = {"in_color_matrix": given, "out_color_matrix": "bt709", "out_range": "tv"}
    return stream.filter("scale", **size, **matrices)


def _blurred(stream: Any, box: tuple[int, int, int, int]) -> Any:
    width, height = (2 * (side // _BLUR_DIVISOR // 2) for side in box[2:])
    small = stream.filter("scale", width, height, **_COVERING).filter("crop", width, height)
    blurred = small.filter("setsar", 1).filter("gblur", sigma=_BLUR_SIGMA)
    return blurred.filter("scale", *box[2:], flags="bilinear")


def _below(background: Background | None, box: tuple[int, int, int, int]) -> Any:
    width, height = box[2:]
    if background is None:
        stream = command.input(_GRADIENT, format="lavfi")["v:0"]
        smooth = {"flags": "bilinear", "out_color_matrix": "bt709"}
        return stream.filter("scale", width, height, **smooth).filter("setsar", 1)
    window = background.window
    content = command.input(str(window.path), stream_loop=-1, **input_options(window))
    looped = one_size(content["v:0"].filter("setpts", "PTS-STARTPTS"), window, background.probe)
    stream = deinterlace(looped, background.probe)
    stream = rotate(stream, background.probe)
    stream = _scaled(stream, background.probe, w=width, h=height, **_COVERING)
    return stream.filter("crop", width, height).filter("setsar", 1)


# A minimum frame rate: frames that are shown for longer are repeated, and no frame's time changes.
# ffmpeg's `fps` filter would move frames to a grid, and drop some of a source whose rate varies.
# Frames per second that captions need to highlight each word when it is said.
LOWEST_FRAME_RATE = 25
# Seconds. A frame at 24000/1001 per second, with a container's rounding, is not repeated.
_LONGEST_FRAME = Fraction(1001, 24_000) + Fraction(1, 500)
# Seconds after the last time at which the list of times ends, after the end of the picture.
_AFTER_THE_END = 60


def repeats(frames: Sequence[Fraction], end: Fraction) -> tuple[Fraction, ...]:
    """The sorted times, in seconds, at which the previous frame must be repeated.

    Every frame that is shown for longer than `_LONGEST_FRAME`, until the next one or `end`, is
    divided into parts of at most `1 / LOWEST_FRAME_RATE` seconds.
    """
    times: list[Fraction] = []
    for begins, ends in zip(frames, (*frames[1:], end), strict=True):
        if ends - begins <= _LONGEST_FRAME:
            continue
        parts = ceil((ends - begins) * LOWEST_FRAME_RATE)
        times += [begins + (ends - begins) * part / parts for part in range(1, parts)]
    return tuple(times)


def write_times(times: Sequence[Fraction], start: Fraction, path: Path) -> None:
    """Writes a video with frames of 2x2 pixels at `start` and at `times` to `path`."""
    base = Fraction(1, TIMESCALE)
    with av.open(str(path), "w", format="nut") as output:
        stream = output.add_stream("rawvideo", rate=LOWEST_FRAME_RATE)
        stream.width = stream.height = 2
        stream.pix_fmt, stream.time_base, stream.codec_context.time_base = "gray", base, base
        for time in (start, *times, times[-1] + _AFTER_THE_END):
            frame = av.VideoFrame(2, 2, "gray")
            frame.pts, frame.time_base = round(time * TIMESCALE), base
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def repeated(stream: Any, frames: Sequence[Fraction], times: Sequence[Fraction], path: Path) -> Any:
    """The stream with an additional frame at each of `times`, which the video at `path` has."""
    shown = stream.filter("settb", f"1/{TIMESCALE}")
    if times[-1] > frames[-1]:
        # The stream ends with its last frame, so a copy of that is added at the last of the times.
        last, count = round(times[-1] * TIMESCALE), len(frames)
        shown = shown.filter("tpad", stop=1, stop_mode="clone")
        shown = shown.filter("setpts", f"if(gte(N,{count}),max(PREV_OUTPTS+1,{last}),PTS)")
    clock = command.input(str(path))["v:0"].filter("settb", f"1/{TIMESCALE}")
    # It outputs the first stream, and repeats its frame whenever the second stream has one.
    return command.filter([shown, clock], "streamselect", inputs=2, map="0")
