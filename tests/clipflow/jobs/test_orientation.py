"""Pictures with a display matrix are rotated and mirrored as ffmpeg does it."""

import struct
import subprocess
from fractions import Fraction
from math import cos, radians, sin
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipflow.media.streams import orientation
from tests.clipflow.jobs.cutting import Cutter
from tests.made_media import FFMPEG, frame_times, make_source

ONE = 1 << 16
C, S = round(cos(radians(45)) * ONE), round(sin(radians(45)) * ONE)
# The elements a, b, c and d of the matrix.
MATRICES = {
    "none": (ONE, 0, 0, ONE),
    "clockwise": (0, ONE, -ONE, 0),
    "counter-clockwise": (0, -ONE, ONE, 0),
    "half": (-ONE, 0, 0, -ONE),
    "hflip": (-ONE, 0, 0, ONE),
    "vflip": (ONE, 0, 0, -ONE),
    "transpose": (0, ONE, ONE, 0),
    "anti-transpose": (0, -ONE, -ONE, 0),
    "almost 90": (80, ONE, -ONE, 80),
    "zeros": (0, 0, 0, 0),
    "45": (C, S, -S, C),
}


def with_matrix(source: Path, path: Path, values: tuple[int, int, int, int]) -> Path:
    """The same MP4 with another display matrix in its video track's header (`tkhd`)."""
    data = bytearray(source.read_bytes())
    # After the type: version and flags, two times, id, reserved, duration, then 16 more bytes.
    place = data.index(b"tkhd") + 4 + 4 + 20 + 16
    a, b, c, d = values
    last = 1 << 30 if any(values) else 0
    struct.pack_into(">9i", data, place, a, b, 0, c, d, 0, 0, 0, last)
    path.write_bytes(data)
    return path


def shown(path: Path, *options: str) -> NDArray[np.uint8]:
    """The first frame, as ffmpeg shows it."""
    command = [FFMPEG, "-v", "error", *options, "-i", str(path), "-frames:v", "1"]
    pgm = subprocess.run([*command, "-f", "image2pipe", "-c:v", "pgm", "-pix_fmt", "gray", "-"],
                         capture_output=True, check=True).stdout  # fmt: skip
    _, size, _, pixels = pgm.split(b"\n", 3)
    width, height = map(int, size.split())
    return np.frombuffer(pixels, np.uint8).reshape(height, width)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("codec", ["h264", "prores"])
def test_a_clip_shows_what_ffmpeg_shows(
    name: str, codec: str, cutter: Cutter, tmp_path: Path
) -> None:
    if codec == "prores":
        picture: tuple[str, ...] = ("-c:v", "prores")
    else:
        picture = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-bf", "0")
    # The first frame is brighter on the right and in its lower half, so that each orientation looks
    # different.
    ramp = ("-vf", "geq=lum='lum(X,Y)/2+X/4+16'")
    plain = make_source(
        tmp_path / "plain.mov",
        size=(320, 192),
        seconds=2,
        sound=None,
        picture=picture,
        filters=ramp,
    )
    head = cutter.put(with_matrix(plain, tmp_path / "s.mov", MATRICES[name]))
    segment = cutter.cut(head, "0", "1.5")
    wanted = shown(tmp_path / "s.mov", *(["-noautorotate"] if name == "45" else []))
    made = shown(segment)
    assert made.shape == wanted.shape
    assert np.abs(made.astype(int) - wanted.astype(int)).mean() < 4
    is_copied = codec == "h264" and name in ("none", "zeros", "45")
    assert cutter.results[-1].way == ("copied" if is_copied else "encoded")


@pytest.mark.parametrize("how", ["rotate=90", "flip=vertical"])
def test_a_matrix_in_the_packets_is_applied_once(how: str, cutter: Cutter, tmp_path: Path) -> None:
    picture = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-bf", "0")
    matrix = ("-bsf:v", f"h264_metadata=display_orientation=insert:{how}")
    source = make_source(
        tmp_path / "s.ts", size=(320, 192), seconds=1, sound=None, picture=picture, output=matrix
    )
    segment = cutter.cut(cutter.put(source), "0", "1")
    wanted, made = shown(source), shown(segment)
    assert made.shape == wanted.shape
    assert np.abs(made.astype(int) - wanted.astype(int)).mean() < 4
    # With the matrix of ffmpeg 5.1, libavformat returns no times for the picture after a keyframe.
    assert frame_times(segment) == [Fraction(number, 25) for number in range(25)]


def test_a_picture_without_a_matrix_is_shown_as_coded() -> None:
    assert orientation(()) == (0, False)
