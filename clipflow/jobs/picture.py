"""One short from the video's own bytes, in one pass of ffmpeg: the command as data.

The picture is 1080x1920 in BT.709; every frame of the moment is in it once, at its own time.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg as command

from clipflow.captions.ass import burned_in
from clipflow.domain.shorts import Layout
from clipflow.media.encode import (
    CRF,
    MATRICES,
    PRESET,
    TIMESCALE,
    audio_filters,
    rotate,
    tone_map,
    trim,
)
from clipflow.media.loudness import normalize
from clipflow.media.output_format import is_hdr, matrix_of
from clipflow.media.probe import Probe
from clipflow.media.window import Window
from clipflow.reframe.crop import CropPath, cropped

WIDTH, HEIGHT = 1080, 1920
RESOLUTION = f"{WIDTH}x{HEIGHT}"
SAMPLE_RATE = 48_000
_STACKED = HEIGHT // 2
_AUDIO_BITS = 160_000
# The cheapest search for motion between pixels: a quarter less work for 5 % more bytes, and as like
# the source as before (VMAF).
ENCODER = {"vcodec": "libx264", "preset": PRESET, "crf": CRF, "x264-params": "subme=1"}
# The share of the picture that a blurred one is made at: it has no detail to lose.
_BLUR_DIVISOR, _BLUR_SIGMA = 6, 10
# How the scale filter keeps the picture's shape: all of it inside, or nothing left free.
_INSIDE = {
    "w": WIDTH,
    "h": HEIGHT,
    "force_original_aspect_ratio": "decrease",
    "force_divisible_by": 2,
}
_COVERING = {"force_original_aspect_ratio": "increase"}
# Slow and dark, so that it draws no eye, so slow that a few frames a second are enough; the seed
# makes every run's the same.
_GRADIENT = (
    "gradients=size=270x240:rate=10:nb_colors=3:c0=0x101820:c1=0x2a3d66:c2=0x5a2a66"
    ":x0=0:y0=0:x1=270:y1=240:speed=0.025:seed=1"
)


@dataclass(frozen=True)
class Background:
    """The file at `path` holds the beginning of the video that plays below."""

    path: Path
    probe: Probe


@dataclass(frozen=True)
class Ingredients:
    """What a short is made of: files on this machine, and how they are to be shown.

    `crop` is None where the layout shows the whole picture; `loudness` is the moment's, in LUFS.
    """

    window: Window
    probe: Probe
    layout: Layout
    crop: CropPath | None
    background: Background | None
    captions: Path
    loudness: float


def crop_aspect(layout: Layout) -> Fraction | None:
    """Width over height of what the layout shows of the picture; None where it shows all."""
    shown = {Layout.STACK: Fraction(WIDTH, _STACKED), Layout.CROP: Fraction(WIDTH, HEIGHT)}
    return shown.get(layout)


def captions_centre(layout: Layout) -> int:
    """The line that captions are centred on: the seam of a stack, else below the face."""
    return _STACKED if layout == Layout.STACK else 1250


def render_command(made_of: Ingredients, path: Path, threads: int) -> list[str]:
    """ffmpeg's arguments for the short at `path`."""
    window = made_of.window
    # One thread each decodes and filters as fast as is encoded; more would cost a tenth more.
    content = command.input(str(window.path), threads=1)
    sound = audio_filters(
        content["a:0"] if window.has_audio else None, window, SAMPLE_RATE, "stereo"
    )
    output = command.output(
        _finished(_laid_out(_upright(content["v:0"], made_of), made_of), made_of),
        normalize(sound, made_of.loudness, SAMPLE_RATE),
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
    return (
        burned_in(stream, made_of.captions)
        .filter("format", "yuv420p")
        .filter("setsar", 1)
        .filter("setparams", range="tv", color_primaries=1, color_trc=1, colorspace=1)
    )


def _upright(stream: Any, made_of: Ingredients) -> Any:
    """The moment's frames at their own times from zero, upright, with square pixels."""
    probe = made_of.probe
    stream = rotate(trim(stream, made_of.window), probe)
    return stream if probe.square else stream.filter("scale", probe.width, probe.height)


def _laid_out(stream: Any, made_of: Ingredients) -> Any:
    probe = made_of.probe
    match made_of.layout:
        case Layout.STACK:
            above = _scaled(_cropped(stream, made_of), probe, w=WIDTH, h=_STACKED)
            below = _below(made_of.background)
            return above.filter("pad", WIDTH, HEIGHT, 0, 0).overlay(below, y=_STACKED, shortest=1)
        case Layout.CROP:
            return _scaled(_cropped(stream, made_of), probe, w=WIDTH, h=HEIGHT)
        case Layout.BLUR:
            parts = _scaled(stream, probe, **_INSIDE).split()
            return _blurred(parts[0]).overlay(parts[1], x="(W-w)/2", y="(H-h)/2")


def _cropped(stream: Any, made_of: Ingredients) -> Any:
    return cropped(stream, made_of.crop) if made_of.crop else stream


def _scaled(stream: Any, probe: Probe, **size: Any) -> Any:
    """In another size and in BT.709."""
    if is_hdr(probe.colour):
        # Mapped when it is small: that is the dearest of all filters.
        return tone_map(stream.filter("scale", **size))
    given = MATRICES.get(matrix_of(probe), "auto")
    matrices = {"in_color_matrix": given, "out_color_matrix": "bt709", "out_range": "tv"}
    return stream.filter("scale", **size, **matrices)


def _blurred(stream: Any) -> Any:
    width, height = WIDTH // _BLUR_DIVISOR, HEIGHT // _BLUR_DIVISOR
    small = stream.filter("scale", width, height, **_COVERING).filter("crop", width, height)
    blurred = small.filter("setsar", 1).filter("gblur", sigma=_BLUR_SIGMA)
    return blurred.filter("scale", WIDTH, HEIGHT, flags="bilinear")


def _below(background: Background | None) -> Any:
    if background is None:
        stream = command.input(_GRADIENT, format="lavfi")["v:0"]
        smooth = {"flags": "bilinear", "out_color_matrix": "bt709"}
        return stream.filter("scale", WIDTH, _STACKED, **smooth).filter("setsar", 1)
    looped = command.input(str(background.path), stream_loop=-1)["v:0"]
    stream = rotate(looped.filter("setpts", "PTS-STARTPTS"), background.probe)
    stream = _scaled(stream, background.probe, w=WIDTH, h=_STACKED, **_COVERING)
    return stream.filter("crop", WIDTH, _STACKED).filter("setsar", 1)
