"""Encoding a segment, or parts of one, out of a window: the commands, and checks of the result."""

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
from clipflow.media.output_format import OutputFormat, is_hdr, limited, matrix_of
from clipflow.media.probe import UNSPECIFIED, Probe
from clipflow.media.window import Window

# The unit of every segment's picture: frames of 24, 25, 30 and 30000/1001 a second are whole in it.
TIMESCALE = 90_000
# Frames are told apart by more than this many units; rounding moves them by less.
_SLACK = 2
# Half the cost of `fast`, at a quality that its CRF makes up for.
PRESET, CRF = "veryfast", 20
_TIMING = "fps=30:force-cfr=0"
# Above 1080p an encoder holds fewer frames: 450 MB of memory for 2160p instead of 700, for 1 % more
# bytes.
_LARGE, _LEAN = 1920 * 1088, ":rc-lookahead=4:bframes=1"
_TRANSPOSE = {90: ["cclock"], 180: ["hflip", "vflip"], 270: ["clock"]}
# H.273's matrices as the scale filter calls them.
MATRICES = {1: "bt709", 4: "fcc", 5: "bt470", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
# Seconds: less than a sample, and what no container's rounding reaches.
_INAUDIBLE, _GAP = 1e-5, 0.005
FLAC_IN_MP4 = {"acodec": "flac", "strict": "experimental"}


def encode_segment(
    window: Window, source: Probe, target: OutputFormat, path: Path, machine: Machine
) -> None:
    """Make the segment at `path` from `window`: H.264 and FLAC, every frame of the span.

    Raises what `ffmpeg.run` raises, and MediaRefusedError where the frames are not those of the
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
        # What ffmpeg says of a picture that does not decode, and whether it fails at all, differs
        # from version to version: the frames that do decode decide.
        if not count_decodable(window):
            raise _damaged(action, 0, len(window.frames)) from None
        raise
    verify_frame_count(window, path, action)


def segment_command(
    window: Window, source: Probe, target: OutputFormat, path: Path, threads: int
) -> list[str]:
    """ffmpeg's arguments for `encode_segment`."""
    content = command.input(str(window.path), threads=threads)
    output = command.output(
        convert(rotate(trim(content["v:0"], window), source), source, target),
        audio_filters(
            content["a:0"] if window.has_audio else None, window, target.sample_rate, target.layout
        ),
        str(path),
        **encoder(target, threads),
        **FLAC_IN_MP4,
    )
    return [*map(str, command.get_args(output)), "-copyts"]


def samples(duration: Fraction, rate: int) -> int:
    """Samples that are enough for `duration` seconds, and for FLAC, which takes 16 or more.

    Where a stitch needs fewer, it leaves the last ones out.
    """
    return max(16, ceil(duration * rate))


def verify_frame_count(window: Window, path: Path, action: str) -> None:
    """Raises MediaRefusedError where not every frame of the window came out in the video at
    `path`."""
    planned, made = len(window.frames), count_frames(path)
    if not made or (window.frames_are_packets and planned != made):
        raise _damaged(action, made, planned)


def _damaged(action: str, decoded: int, planned: int) -> MediaRefusedError:
    return MediaRefusedError(
        f"{action}: {decoded} of {planned} frames could be decoded.",
        "The source is damaged there.",
    )


def count_decodable(window: Window) -> int:
    """Frames of the window's span that decode, whatever the decoder reports of the others."""
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
    """Frames in a video of ours, counted from its index; ffmpeg makes no track for none."""
    with av.open(str(path)) as container:
        return sum(stream.frames for stream in container.streams.video)


def encoder(target: OutputFormat, threads: int) -> dict[str, Any]:
    """Options for a segment's picture."""
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


def trim(stream: Any, window: Window) -> Any:
    """Exactly the frames of the window's span, at their own times from zero. For `-copyts`."""
    origin, frames = window.origin, window.frames
    stream = stream.filter("settb", f"1/{TIMESCALE}")
    stream = stream.filter(
        "trim",
        start_pts=round((origin + frames[0]) * TIMESCALE) - _SLACK,
        end_pts=round((origin + frames[-1]) * TIMESCALE) + _SLACK,
    )
    return stream.filter("setpts", f"PTS-{round(origin * TIMESCALE)}")


def rotate(stream: Any, source: Probe) -> Any:
    """A picture as it is coded in `source`, turned and mirrored as it is to be shown."""
    for turn in _TRANSPOSE.get(source.rotation, []):
        stream = stream.filter("transpose", turn) if "clock" in turn else stream.filter(turn)
    return stream.filter("hflip") if source.mirrored else stream


def convert(stream: Any, source: Probe, target: OutputFormat) -> Any:
    """An upright picture of the source in the output format's size and colour."""
    if is_hdr(source.colour) and not is_hdr(target.colour):
        stream = tone_map(stream)
    size, wanted = (source.width, source.height), (target.width, target.height)
    fits = source.square and size == wanted and limited(source.colour) == target.colour
    if not fits or source.colour.full_range:
        width, height = _fitting(source, target)
        stream = stream.filter("scale", width, height, flags="bicubic", **_matrices(source, target))
        stream = stream.filter("pad", target.width, target.height, "(ow-iw)/2", "(oh-ih)/2")
    colour = target.colour
    return (
        stream.filter("format", "yuv420p")
        .filter("setsar", 1)
        .filter(
            "setparams",
            range="tv",
            color_primaries=colour.primaries,
            color_trc=colour.transfer,
            colorspace=colour.matrix,
        )
    )


def _fitting(source: Probe, target: OutputFormat) -> tuple[int, int]:
    """The largest even size inside the output format's with the source's shape."""
    ratio = min(Fraction(target.width, source.width), Fraction(target.height, source.height))
    return 2 * round(source.width * ratio / 2), 2 * round(source.height * ratio / 2)


def _matrices(source: Probe, target: OutputFormat) -> dict[str, str]:
    was_mapped = is_hdr(source.colour) and not is_hdr(target.colour)
    given = target.colour.matrix if was_mapped else matrix_of(source)
    wanted = given if target.colour.matrix == UNSPECIFIED else target.colour.matrix
    return {
        "in_color_matrix": MATRICES.get(given, "auto"),
        "out_color_matrix": MATRICES.get(wanted, "auto"),
        "in_range": "pc" if source.colour.full_range and not was_mapped else "tv",
        "out_range": "tv",
    }


def tone_map(stream: Any) -> Any:
    """HDR (PQ or HLG) brought to SDR in BT.709, by the filters that ffmpeg's wiki names for it."""
    return (
        stream.filter("zscale", transfer="linear", npl=100)
        .filter("format", "gbrpf32le")
        .filter("zscale", primaries="bt709")
        .filter("tonemap", "hable", desat=0)
        .filter("zscale", transfer="bt709", matrix="bt709", range="tv")
        .filter("format", "yuv420p")
    )


def audio_filters(stream: Any, window: Window, rate: int, layout: str) -> Any:
    """Exactly the span's samples: silence where the source has none, cut to one sample."""
    count = samples(window.span.duration, rate)
    if stream is None:
        silence = command.input(
            f"anullsrc=sample_rate={rate}:channel_layout={layout}", format="lavfi"
        )
        return _blocks(silence["a:0"].filter("atrim", end_sample=count))
    return _blocks(
        stream.filter("aresample", rate)
        .filter(
            # Samples go where their timestamps say: gaps become silence, what comes before the
            # span goes. Smaller steps are a container's rounding, not a gap. A filter of its own,
            # because it counts `first_pts` in samples of its input.
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


def _blocks(stream: Any) -> Any:
    # ffmpeg 9 takes the first frame's length for FLAC's block size, however short it is.
    return stream.filter("asetnsamples", 4096, pad=0)


# Units of TIMESCALE by which an MP4's edit list may round a time.
_ROUNDING = 6
_LINE_BYTES = 256


def picture_command(
    window: Window, source: Probe, target: OutputFormat, path: Path, threads: int
) -> list[str]:
    """ffmpeg's arguments for the window's frames, as a whole cut would encode them."""
    stream = command.input(str(window.path), threads=threads)["v:0"]
    stream = convert(rotate(trim(stream, window), source), source, target)
    output = command.output(stream, str(path), **encoder(target, threads))
    return [*map(str, command.get_args(output)), "-copyts"]


def sound_command(window: Window, target: OutputFormat, path: Path) -> list[str]:
    """ffmpeg's arguments for the span's sound, as a whole cut would encode it."""
    stream = command.input(str(window.path))["a:0"] if window.has_audio else None
    stream = audio_filters(stream, window, target.sample_rate, target.layout)
    output = command.output(stream, str(path), format="mp4", **FLAC_IN_MP4)
    return [*map(str, command.get_args(output)), "-copyts"]


def encode_picture(
    window: Window, source: Probe, target: OutputFormat, path: Path, machine: Machine
) -> Path:
    """The window's frames in an MP4 at `path`. Raises what `ffmpeg.run` raises."""
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
    """The span's sound in an MP4 at `path`. Raises what `ffmpeg.run` raises."""
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
    MediaRefusedError where any frame does not decode without an error, is missing, added or shown
    at another time.
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
    # The loop filter cannot fail, and is a quarter of the work.
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
