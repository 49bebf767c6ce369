"""One short from its segment, in one pass of ffmpeg: the command as data.

The picture is 1080x1920 in BT.709; every frame of the segment is in it once, at its own time.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg as command

from clipflow.captions.ass import burned_in
from clipflow.domain.shorts import Layout
from clipflow.media.cut import CRF, MATRICES, PRESET, TIMESCALE, tone_mapped, upright
from clipflow.media.form import is_hdr, matrix_of
from clipflow.media.loudness import levelled
from clipflow.media.probe import Probe
from clipflow.reframe.expression import cropped
from clipflow.reframe.path import CropPath

WIDTH, HEIGHT = 1080, 1920
RESOLUTION = f"{WIDTH}x{HEIGHT}"
SAMPLE_RATE = 48_000
_STACKED = HEIGHT // 2
_AUDIO_BITS = 160_000
# The share of the picture that a blurred one is made at: it has no detail to lose.
_BLUR_DIVISOR, _BLUR_SIGMA = 6, 10
# Slow and dark, so that it draws no eye; the seed makes every run's the same.
_GRADIENT = (
    "gradients=size=270x240:rate=25:nb_colors=3:c0=0x101820:c1=0x2a3d66:c2=0x5a2a66"
    ":x0=0:y0=0:x1=270:y1=240:speed=0.01:seed=1"
)


@dataclass(frozen=True)
class Background:
    """The file at `path` holds the beginning of the video that plays below."""

    path: Path
    known: Probe


@dataclass(frozen=True)
class Ingredients:
    """What a short is made of: files on this machine, and how its segment is to be shown.

    `crop` is None where the layout shows the whole picture; `loudness` is the segment's, in LUFS.
    """

    segment: Path
    known: Probe
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
    segment = command.input(str(made_of.segment), threads=threads)
    output = command.output(
        _finished(_laid_out(segment["v:0"], made_of), made_of),
        levelled(segment["a:0"], made_of.loudness, SAMPLE_RATE),
        str(path),
        format="mp4",
        fps_mode="passthrough",
        enc_time_base=f"1:{TIMESCALE}",
        video_track_timescale=TIMESCALE,
        movie_timescale=SAMPLE_RATE,
        movflags="+faststart",
        map_metadata=-1,
        vcodec="libx264",
        preset=PRESET,
        crf=CRF,
        pix_fmt="yuv420p",
        acodec="aac",
        audio_bitrate=_AUDIO_BITS,
        **{"profile:v": "high", "threads:v": threads},
    )
    return [str(argument) for argument in command.get_args(output)]


def _finished(stream: Any, made_of: Ingredients) -> Any:
    return (
        burned_in(stream, made_of.captions)
        .filter("format", "yuv420p")
        .filter("setsar", 1)
        .filter("setparams", range="tv", color_primaries=1, color_trc=1, colorspace=1)
    )


def _laid_out(stream: Any, made_of: Ingredients) -> Any:
    matrices = _to_bt709(made_of.known)
    match made_of.layout:
        case Layout.STACK:
            above = _cropped(stream, made_of).filter("scale", WIDTH, _STACKED, **matrices)
            below = _below(made_of.background)
            return above.filter("pad", WIDTH, HEIGHT, 0, 0).overlay(below, y=_STACKED, shortest=1)
        case Layout.CROP:
            return _cropped(stream, made_of).filter("scale", WIDTH, HEIGHT, **matrices)
        case Layout.BLUR:
            parts = stream.filter("scale", **_inside(), **matrices).split()
            return _blurred(parts[0]).overlay(parts[1], x="(W-w)/2", y="(H-h)/2")


def _cropped(stream: Any, made_of: Ingredients) -> Any:
    return cropped(stream, made_of.crop) if made_of.crop else stream


def _inside() -> dict[str, Any]:
    return {
        "w": WIDTH,
        "h": HEIGHT,
        "force_original_aspect_ratio": "decrease",
        "force_divisible_by": 2,
    }


def _blurred(stream: Any) -> Any:
    width, height = WIDTH // _BLUR_DIVISOR, HEIGHT // _BLUR_DIVISOR
    return (
        _covering(stream, width, height)
        .filter("gblur", sigma=_BLUR_SIGMA)
        .filter("scale", WIDTH, HEIGHT, flags="bilinear")
    )


def _below(background: Background | None) -> Any:
    if background is None:
        stream = command.input(_GRADIENT, format="lavfi")["v:0"]
        return stream.filter("scale", WIDTH, _STACKED, out_color_matrix="bt709").filter("setsar", 1)
    known = background.known
    stream = command.input(str(background.path), stream_loop=-1)["v:0"]
    stream = upright(stream, known.rotation)
    if is_hdr(known.colour):
        stream = tone_mapped(stream)
    return _covering(stream, WIDTH, _STACKED, **_to_bt709(known))


def _covering(stream: Any, width: int, height: int, **how: Any) -> Any:
    """All of the box filled, what sticks out cut off."""
    return (
        stream.filter("scale", width, height, force_original_aspect_ratio="increase", **how)
        .filter("crop", width, height)
        .filter("setsar", 1)
    )


def _to_bt709(known: Probe) -> dict[str, str]:
    # What is HDR has been tone mapped to BT.709 before.
    given = "bt709" if is_hdr(known.colour) else MATRICES.get(matrix_of(known), "auto")
    return {"in_color_matrix": given, "out_color_matrix": "bt709", "out_range": "tv"}
