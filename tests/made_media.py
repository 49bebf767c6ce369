"""Generated sources in which each frame and sample encodes its number, and functions to read them.

A frame shows its number as twenty black or white columns in its upper half; its lower half is white
in the first frame of each second and otherwise black. Sample n of the audio has the value n modulo
2^16, which a lossless codec preserves; with `clicks`, the audio has a click at each second instead.
"""

import array
import os
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from pathlib import Path
from tempfile import gettempdir

import av
import numpy as np

from clipflow.machine import Machine
from clipflow.media.ffmpeg import executable

BITS = 20
# The ffmpeg that makes the sources is the one that clipflow runs.
FFMPEG = executable(os.environ.get("CLIPFLOW_FFMPEG"))


def a_machine(threads: int = 1) -> Machine:
    """A machine for tests: the ffmpeg of the environment and the temporary folder."""
    return Machine(Path(gettempdir()), os.environ.get("CLIPFLOW_FFMPEG"), threads=threads)


def make_source(
    path: Path,
    *,
    size: tuple[int, int] = (320, 180),
    rate: Fraction | int = 25,
    seconds: float = 20,
    picture: Sequence[str] = (
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "50",
        "-bf",
        "2",
    ),
    sound: Sequence[str] | None = ("-c:a", "flac"),
    sample_rate: int = 48000,
    channels: int = 1,
    clicks: bool = False,
    filters: Sequence[str] = (),
    output: Sequence[str] = (),
    sound_offset: float = 0.0,
) -> Path:
    """Make a source of `seconds` at `path`, in the container of the path's suffix."""
    width, height = size
    raw_picture, raw_sound = path.with_suffix(".gray"), path.with_suffix(".pcm")
    frames = int(seconds * rate)
    seconds_begun = {-(-(second * Fraction(rate)) // 1) for second in range(int(seconds) + 1)}
    with raw_picture.open("wb") as file:
        for number in range(frames):
            file.write(_frame(number, width, height, flash=number in seconds_begun))
    signal = _clicks if clicks else _ramp
    raw_sound.write_bytes(signal(int(seconds * sample_rate), sample_rate, channels))
    inputs = [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-s",
        f"{width}x{height}",
        "-r",
        str(rate),
    ]
    inputs += ["-i", str(raw_picture)]
    if sound:
        inputs += ["-f", "s16le", "-ar", str(sample_rate), "-ac", str(channels)]
        inputs += ["-i", str(raw_sound)]
    if sound and sound_offset:
        filters = [*filters, "-af", f"asetpts=PTS+{sound_offset}/TB"]
    subprocess.run(
        [
            FFMPEG,
            "-nostdin",
            "-v",
            "error",
            "-y",
            *inputs,
            *filters,
            *picture,
        ]
        + ["-pix_fmt", "yuv420p", *(sound or ()), *output, str(path)],
        check=True,
    )
    raw_picture.unlink()
    raw_sound.unlink()
    return path


def _frame(number: int, width: int, height: int, *, flash: bool) -> bytes:
    column = width // BITS
    row = b"".join(
        (b"\xeb" if number >> bit & 1 else b"\x10") * column for bit in range(BITS)
    ).ljust(width, b"\x10")
    lower = (b"\xeb" if flash else b"\x10") * width
    return row * (height // 2) + lower * (height - height // 2)


def _ramp(count: int, _rate: int, channels: int) -> bytes:
    values = (np.arange(count) % 65536 - 32768).astype("<i2")
    return values.repeat(channels).tobytes()


def _clicks(count: int, rate: int, channels: int) -> bytes:
    values = array.array("h", bytes(2 * count * channels))
    for start in range(0, count * channels, rate * channels):
        for place in range(start, min(start + 48 * channels, len(values))):
            values[place] = 28000
    return values.tobytes()


def frame_numbers(path: Path, region: tuple[int, int, int, int] | None = None) -> list[int]:
    """The number in each frame, in order; `region` is the picture's x, y, width and height."""
    with av.open(str(path)) as container:
        return [_number(frame, region) for frame in container.decode(video=0)]


def _number(frame: av.VideoFrame, region: tuple[int, int, int, int] | None) -> int:
    x, y, width, height = region or (0, 0, frame.width, frame.height)
    column = width // BITS
    return sum(
        _bright(frame, x + bit * column + column // 2, y + height // 4) << bit
        for bit in range(BITS)
    )


def _bright(frame: av.VideoFrame, x: int, y: int) -> bool:
    plane = frame.planes[0]
    return memoryview(plane)[y * plane.line_size + x] > 128


def frame_times(path: Path) -> list[Fraction]:
    """The presentation time of each frame, in seconds."""
    with av.open(str(path)) as container:
        return [_time(frame) for frame in container.decode(video=0)]


def _time(frame: av.VideoFrame | av.AudioFrame) -> Fraction:
    assert frame.pts is not None
    assert frame.time_base is not None
    return frame.pts * frame.time_base


def flashes(path: Path) -> list[Fraction]:
    """The times at which the lower half turns white, in seconds."""
    times, was = [], False
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            now = _bright(frame, frame.width // 2, frame.height * 3 // 4)
            if now and not was:
                times.append(_time(frame))
            was = now
    return times


def samples(path: Path) -> tuple[int, "array.array[int]"]:
    """The sample rate, and the first channel's samples as 16 bits, from time zero."""
    values = array.array("h")
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="s16", layout="mono", rate=stream.rate)
        for frame in container.decode(stream):
            if not values:
                assert _time(frame) < Fraction(1, 1000)
            for part in resampler.resample(frame):
                values.frombytes(bytes(part.planes[0])[: part.samples * 2])
        return stream.rate, values


def clicks(path: Path) -> list[Fraction]:
    """The start of each click in seconds, exact to one sample."""
    rate, values = samples(path)
    found, quiet = [], rate
    for place, value in enumerate(values):
        if abs(value) > 9000:
            if quiet > rate // 100:
                found.append(Fraction(place, rate))
            quiet = 0
        else:
            quiet += 1
    return found


def furthest_apart(path: Path) -> Fraction:
    """The most seconds between a click and its flash. Fails if there are more of one kind."""
    return max(abs(h - s) for h, s in zip(clicks(path), flashes(path), strict=True))


def frames_in(start: str, end: str, rate: Fraction | int) -> list[int]:
    """The numbers of a source's frames in a span, at a constant frame rate."""
    return list(range(ceil(Fraction(start) * rate), ceil(Fraction(end) * rate)))


def copy_rotated(source: Path, path: Path, degrees: int) -> Path:
    """Copy the packets of `source` with a display matrix that rotates them, as phones do."""
    with av.open(str(source)) as original, av.open(str(path), "w") as rotated:
        stream = rotated.add_stream_from_template(original.streams.video[0])
        stream.set_display_rotation(degrees)
        for packet in (p for p in original.demux(video=0) if p.pts is not None):
            packet.stream = stream
            rotated.mux(packet)
    return path


def make_hls(
    source: Path, folder: Path, kind: str, seconds: str = "4", options: Sequence[str] = ()
) -> tuple[Path, list[Path]]:
    """Make an HLS playlist of `source` with its packets copied into chunks; return both.

    `kind` is `mpegts` or `fmp4`.
    """
    playlist = folder / "index.m3u8"
    made = ["-c", "copy", "-f", "hls", "-hls_time", seconds, "-hls_list_size", "0"]
    made += ["-hls_segment_type", kind, *options, str(playlist)]
    subprocess.run([FFMPEG, "-v", "error", "-i", str(source), *made], check=True)
    chunks = [*folder.glob("*.ts"), *folder.glob("*.m4s"), *folder.glob("init.mp4")]
    return playlist, sorted(chunks)
