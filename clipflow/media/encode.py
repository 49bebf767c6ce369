"""Encoding a segment, or parts of one, from a window: ffmpeg commands and result checks."""

from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import av
import ffmpeg as command

from clipflow.domain.errors import MediaRefusedError
from clipflow.machine import Machine
from clipflow.media import ffmpeg
from clipflow.media.ffmpeg import encode_timeout, max_output_bytes
from clipflow.media.isolation import isolated
from clipflow.media.output_format import OutputFormat, convert
from clipflow.media.probe import Probe
from clipflow.media.window import Window

# Ticks a second of every segment's video track: the durations of frames at 24, 25, 30 and
# 30000/1001 a second are whole numbers of ticks.
TIMESCALE = 90_000
# Ticks: frames are further apart than this, and rounding moves them by less.
_TRIM_TOLERANCE = 2
# `veryfast` takes half the time of `fast`; the CRF compensates for its lower quality.
PRESET, CRF = "veryfast", 20
_TIMING = "fps=30:force-cfr=0"
# Above 1080p an encoder holds fewer frames: 450 MB of memory for 2160p instead of 700, for 1 % more
# bytes.
_LARGE, _LEAN = 1920 * 1088, ":rc-lookahead=4:bframes=1"
_TRANSPOSE = {90: ["cclock"], 180: ["hflip", "vflip"], 270: ["clock"]}
# Seconds: less than a sample, and more than any container's rounding.
_INAUDIBLE, _GAP = 1e-5, 0.005
FLAC_IN_MP4 = {"acodec": "flac", "strict": "experimental"}


def encode_segment(
    window: Window, source: Probe, target: OutputFormat, path: Path, machine: Machine
) -> None:
    """Encode the segment at `path` from `window`: H.264 and FLAC, every frame of the span.

    Raises the errors of `ffmpeg.run`, and MediaRefusedError if the frames are not those of the
    span.
    """
    action, pixels = f"cutting {window.span} of {source.name}", target.width * target.height
    try:
        ffmpeg.run(
            segment_command(window, source, target, path, machine.threads),
            action,
            machine,
            encode_timeout(pixels, window.span.duration),
            max_bytes=max_output_bytes(pixels, len(window.frames), window.span.duration),
            duration=window.span.duration,
        )
    except MediaRefusedError:
        # Versions of ffmpeg differ in the message for a picture that does not decode, and in
        # whether they fail at all, so the number of frames that decode decides.
        if not isolated(source.name, count_decodable, window):
            raise _damaged(action, 0, len(window.frames)) from None
        raise
    verify_frame_count(window, path, action)


def segment_command(
    window: Window, source: Probe, target: OutputFormat, path: Path, threads: int
) -> list[str]:
    """ffmpeg's arguments for `encode_segment`."""
    content = command.input(str(window.path), threads=threads, **input_options(window))
    output = command.output(
        convert(upright(content["v:0"], window, source), source, target),
        audio_filters(
            content["a:0"] if window.has_audio else None, window, target.sample_rate, target.layout
        ),
        str(path),
        **encoder(target, threads),
        **FLAC_IN_MP4,
    )
    return [*map(str, command.get_args(output)), "-copyts"]


def samples(duration: Fraction, rate: int) -> int:
    """The number of samples for `duration` seconds, and at least 16, FLAC's smallest block.

    A stitch that needs fewer omits the last ones.
    """
    return max(16, ceil(duration * rate))


def verify_frame_count(window: Window, path: Path, action: str) -> None:
    """Check that the video at `path` has every frame of the window.

    Raises MediaRefusedError if it has not.
    """
    planned, made = len(window.frames), count_frames(path)
    if not made or (window.frames_are_packets and planned != made):
        raise _damaged(action, made, planned)


def _damaged(action: str, decoded: int, planned: int) -> MediaRefusedError:
    return MediaRefusedError(
        f"{action}: {decoded} of {planned} frames could be decoded.",
        "The source is damaged there.",
    )


def count_decodable(window: Window) -> int:
    """The number of frames of the window's span that decode; errors in others are ignored."""
    end, count = window.origin + window.span.duration, 0
    with av.open(str(window.path)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            with suppress(av.error.FFmpegError):
                for frame in packet.decode():
                    if frame.pts is not None and frame.time_base is not None:
                        count += window.origin <= frame.pts * frame.time_base < end
    return count


def count_frames(path: Path) -> int:
    """The number of frames in a video that clipflow made, from its index; 0 without a track."""
    with av.open(str(path)) as container:
        return sum(stream.frames for stream in container.streams.video)


def encoder(target: OutputFormat, threads: int) -> dict[str, Any]:
    """ffmpeg's output options for a segment's video."""
    # All segments of a clip must have the same parameter sets, so nothing here may depend on one
    # segment's source, not even its frame rate: level and timing are given.
    special = _LEAN if target.width * target.height > _LARGE else ""
    if target.copied:
        special += f":sps-id={target.copied.unused_id}"
    return {
        "format": "mp4",
        "fps_mode": "passthrough",
        "enc_time_base": f"1:{TIMESCALE}",
        "video_track_timescale": TIMESCALE,
        "movie_timescale": target.sample_rate,
        "map_metadata": -1,
        "vcodec": "libx264",
        "preset": PRESET,
        "crf": CRF,
        "pix_fmt": "yuv420p",
        "profile:v": "high",
        "level:v": target.level,
        "x264-params": _TIMING + special,
        "threads:v": threads,
    }


def upright(stream: Any, window: Window, source: Probe) -> Any:
    """The frames of the window's span, deinterlaced and in their display orientation.

    Needs `-copyts`.
    """
    stream = one_size(stream, window, source)
    # Deinterlacing comes before the rest, because it compares each frame with its neighbours.
    return rotate(trim(deinterlace(stream, source), window), source)


def input_options(window: Window) -> dict[str, Any]:
    """ffmpeg's options for the window as an input, besides its path."""
    # H.264 and HEVC may have a display matrix in their packets, and ffmpeg would apply it, although
    # `rotate` does.
    options: dict[str, Any] = {"noautorotate": None}
    # Otherwise ffmpeg rebuilds its filters when the size changes, and they lose frames and times.
    return options | {"reinit_filter": 0} if window.sizes_vary else options


def one_size(stream: Any, window: Window, source: Probe) -> Any:
    """Scales pictures of other sizes to that of the source's first one, with black bars."""
    if not window.sizes_vary:
        return stream
    width, height = source.width, source.height
    if source.rotation % 180:
        width, height = height, width
    inside = {"force_original_aspect_ratio": "decrease", "force_divisible_by": 2}
    stream = stream.filter("scale", width, height, eval="frame", **inside).filter("setsar", 1)
    return stream.filter("pad", width, height, "(ow-iw)/2", "(oh-ih)/2", eval="frame")


def deinterlace(stream: Any, source: Probe) -> Any:
    """Deinterlace the frames that are flagged as interlaced, each to one frame.

    Where only the container says that they are, that is every frame.
    """
    if not source.interlaced:
        return stream
    if source.field_order:
        stream = stream.filter("setfield", source.field_order)
        return stream.filter("bwdif", mode="send_frame", deint="all")
    return stream.filter("bwdif", mode="send_frame", deint="interlaced")


def trim(stream: Any, window: Window) -> Any:
    """Keep exactly the frames of the window's span, with times from zero. Needs `-copyts`."""
    origin, frames = window.origin, window.frames
    stream = stream.filter("settb", f"1/{TIMESCALE}")
    stream = stream.filter(
        "trim",
        start_pts=round((origin + frames[0]) * TIMESCALE) - _TRIM_TOLERANCE,
        end_pts=round((origin + frames[-1]) * TIMESCALE) + _TRIM_TOLERANCE,
    )
    time = f"PTS-{round(origin * TIMESCALE)}"
    # Two frames with the same time are both kept, in their order.
    return stream.filter("setpts", f"if(isnan(PREV_OUTPTS),{time},max({time},PREV_OUTPTS+1))")


def rotate(stream: Any, source: Probe) -> Any:
    """Rotate and mirror the coded pictures of `source` to their display orientation."""
    for turn in _TRANSPOSE.get(source.rotation, []):
        stream = stream.filter("transpose", turn) if "clock" in turn else stream.filter(turn)
    stream = stream.filter("hflip") if source.mirrored else stream
    # ffmpeg would write the matrix to the output.
    return stream.filter("sidedata", mode="delete", type="DISPLAYMATRIX")


def audio_filters(stream: Any, window: Window, rate: int, layout: str) -> Any:
    """Keep exactly the samples of the window's span, with silence for those that are missing."""
    count = samples(window.span.duration, rate)
    if stream is None:
        silence = command.input(
            f"anullsrc=sample_rate={rate}:channel_layout={layout}", format="lavfi"
        )
        return _flac_blocks(silence["a:0"].filter("atrim", end_sample=count))
    return _flac_blocks(
        stream.filter("aresample", rate)
        .filter(
            # Places samples by their timestamps: gaps become silence, and samples before the
            # span are dropped. Differences below `_GAP` are a container's rounding. A second
            # filter, because it counts `first_pts` in samples of its input.
            "aresample",
            rate,
            **{"async": 1, "min_comp": _INAUDIBLE, "min_hard_comp": _GAP},
            first_pts=round(window.origin * rate),
        )
        .filter("aformat", sample_fmts="s16", channel_layouts=layout)
        .filter("asetpts", "N/SR/TB")
        .filter("apad", whole_len=count)
        .filter("atrim", end_sample=count)
    )


def _flac_blocks(stream: Any) -> Any:
    # ffmpeg 9 uses the first frame's length as FLAC's block size, even if it is very short.
    return stream.filter("asetnsamples", 4096, pad=0)


# Units of TIMESCALE by which an MP4's edit list may round a time.
_ROUNDING = 6
_LINE_BYTES = 256


def picture_command(
    window: Window, source: Probe, target: OutputFormat, path: Path, threads: int
) -> list[str]:
    """ffmpeg's arguments to encode the window's frames as `encode_segment` does."""
    stream = command.input(str(window.path), threads=threads, **input_options(window))["v:0"]
    stream = convert(upright(stream, window, source), source, target)
    output = command.output(stream, str(path), **encoder(target, threads))
    return [*map(str, command.get_args(output)), "-copyts"]


def sound_command(window: Window, target: OutputFormat, path: Path) -> list[str]:
    """ffmpeg's arguments to encode the span's audio as `encode_segment` does."""
    stream = command.input(str(window.path))["a:0"] if window.has_audio else None
    stream = audio_filters(stream, window, target.sample_rate, target.layout)
    output = command.output(stream, str(path), format="mp4", **FLAC_IN_MP4)
    return [*map(str, command.get_args(output)), "-copyts"]


def encode_picture(
    window: Window, source: Probe, target: OutputFormat, path: Path, machine: Machine
) -> Path:
    """Encode the window's frames to an MP4 at `path`. Raises the errors of `ffmpeg.run`."""
    pixels = target.width * target.height
    ffmpeg.run(
        picture_command(window, source, target, path, machine.threads),
        f"encoding {len(window.frames)} frames of {window.span} of {source.name}",
        machine,
        encode_timeout(pixels, window.span.duration),
        max_bytes=max_output_bytes(pixels, len(window.frames), window.span.duration),
    )
    return path


def encode_sound(
    window: Window, source: Probe, target: OutputFormat, path: Path, machine: Machine
) -> Path:
    """Encode the span's audio to an MP4 at `path`. Raises the errors of `ffmpeg.run`."""
    ffmpeg.run(
        sound_command(window, target, path),
        f"encoding the sound of {window.span} of {source.name}",
        machine,
        encode_timeout(0, window.span.duration),
        max_bytes=max_output_bytes(0, 0, window.span.duration),
    )
    return path


def verify_frames(
    path: Path, planned: Sequence[int], pixels: int, folder: Path, machine: Machine
) -> None:
    """Decode the segment at `path` completely and compare the times of its frames with `planned`.

    `planned` are in units of TIMESCALE, in order; `folder` holds a temporary file. Raises
    MediaRefusedError if a frame does not decode without errors, is missing, added or shown at
    another time.
    """
    listing = folder / "frames.txt"
    duration = Fraction(planned[-1] - planned[0], TIMESCALE)
    ffmpeg.run(
        decode_command(path, listing, machine.threads),
        "checking the copy",
        machine,
        encode_timeout(pixels, duration),
        # The listing has a line of text for each frame.
        max_bytes=max_output_bytes(_LINE_BYTES, len(planned), duration),
        duration=duration,
    )
    lines = [line for line in listing.read_text().splitlines() if not line.startswith("#")]
    shown = [int(line.split(",")[2]) for line in lines]
    differences = [abs(pts - wanted) for pts, wanted in zip(shown, planned, strict=False)]
    if len(shown) != len(planned) or max(differences) > _ROUNDING:
        raise MediaRefusedError(
            f"The copy shows {len(shown)} of {len(planned)} frames at their times."
        )


def decode_command(path: Path, listing: Path, threads: int) -> list[str]:
    """ffmpeg's arguments to decode every frame and list their times; the first error ends it."""
    # The loop filter cannot fail, and skipping it saves a quarter of the time.
    strict = {"err_detect": "explode", "skip_loop_filter": "all"}
    content = command.input(str(path), format="mp4", threads=threads, **strict)
    # Only the times of the decoded frames are read, so this output costs nothing.
    output = command.output(
        content["v:0"],
        str(listing),
        format="framecrc",
        vcodec="wrapped_avframe",
        fps_mode="passthrough",
        enc_time_base=f"1:{TIMESCALE}",
    )
    return [*map(str, command.get_args(output)), "-xerror", "-copyts"]
