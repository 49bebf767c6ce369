"""What of a smart cut is encoded: the frames at its edges, and the sound; and the check of all."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import ffmpeg as command

from clipflow.domain.errors import MediaRefusedError
from clipflow.media import ffmpeg
from clipflow.media.allowance import most_bytes, patience
from clipflow.media.cut import (
    FLAC_IN_MP4,
    TIMESCALE,
    converted,
    encoder,
    framed,
    sounded,
    upright,
)
from clipflow.media.form import Form
from clipflow.media.probe import Probe
from clipflow.media.window import Window

# Units of TIMESCALE by which an MP4's edit list may round a time.
_ROUNDING = 6
_LINE_BYTES = 256


def picture_command(
    window: Window, source: Probe, form: Form, path: Path, threads: int
) -> list[str]:
    """ffmpeg's arguments for the window's frames, as a whole cut would encode them."""
    stream = command.input(str(window.path), threads=threads)["v:0"]
    stream = converted(upright(framed(stream, window), source.rotation), source, form)
    output = command.output(stream, str(path), **encoder(form, threads))
    return [*map(str, command.get_args(output)), "-copyts"]


def sound_command(window: Window, form: Form, path: Path) -> list[str]:
    """ffmpeg's arguments for the span's sound, as a whole cut would encode it."""
    stream = command.input(str(window.path))["a:0"] if window.has_sound else None
    stream = sounded(stream, window, form.sample_rate, form.layout)
    output = command.output(stream, str(path), format="mp4", **FLAC_IN_MP4)
    return [*map(str, command.get_args(output)), "-copyts"]


def encode_picture(window: Window, source: Probe, form: Form, path: Path, threads: int) -> Path:
    """The window's frames in an MP4 at `path`. Raises what `ffmpeg.run` raises."""
    ffmpeg.run(
        picture_command(window, source, form, path, threads),
        f"encoding {len(window.frames)} frames of {window.span} of {source.name}",
        patience(form.width * form.height, window.span.duration),
        most_bytes(form.width * form.height, len(window.frames), window.span.duration),
    )
    return path


def encode_sound(window: Window, source: Probe, form: Form, path: Path) -> Path:
    """The span's sound in an MP4 at `path`. Raises what `ffmpeg.run` raises."""
    ffmpeg.run(
        sound_command(window, form, path),
        f"encoding the sound of {window.span} of {source.name}",
        patience(0, window.span.duration),
        most_bytes(0, 0, window.span.duration),
    )
    return path


def refuse_unless_it_shows(
    path: Path, planned: Sequence[int], pixels: int, scratch: Path, threads: int
) -> None:
    """Decode the segment at `path`: all of it without any error, its frames when `planned`.

    `planned` are in units of TIMESCALE, in order. Raises MediaRefusedError where it is not so.
    """
    told = scratch / "frames.txt"
    duration = Fraction(planned[-1] - planned[0], TIMESCALE)
    # A frame is a line of text in what is told.
    largest = most_bytes(_LINE_BYTES, len(planned), duration)
    deadline = patience(pixels, duration)
    ffmpeg.run(
        decode_command(path, told, threads), "checking the copy", deadline, largest, duration
    )
    lines = [line for line in told.read_text().splitlines() if not line.startswith("#")]
    shown = [int(line.split(",")[2]) for line in lines]
    apart = [abs(pts - wanted) for pts, wanted in zip(shown, planned, strict=False)]
    if len(shown) != len(planned) or max(apart) > _ROUNDING:
        raise MediaRefusedError(
            f"The copy shows {len(shown)} of {len(planned)} frames at their times."
        )


def decode_command(path: Path, told: Path, threads: int) -> list[str]:
    """ffmpeg's arguments to decode every frame and list their times; the first error ends it."""
    # What a loop filter does cannot fail, and is a quarter of the work.
    careful = {"err_detect": "explode", "skip_loop_filter": "all"}
    content = command.input(str(path), format="mp4", threads=threads, **careful)
    # Of frames as they are in memory nothing is read but their times, so this costs nothing.
    output = command.output(
        content["v:0"],
        str(told),
        format="framecrc",
        vcodec="wrapped_avframe",
        fps_mode="passthrough",
        enc_time_base=f"1:{TIMESCALE}",
    )
    return [*map(str, command.get_args(output)), "-xerror", "-copyts"]
