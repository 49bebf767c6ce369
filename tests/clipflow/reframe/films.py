"""Makes videos with a face at known positions, and finds the face in rendered frames.

`face.jpg` is a part of NASA's portrait of Eileen Collins (https://flic.kr/p/r9qvLn), which is in
the public domain. It is taken from scikit-image (`skimage.data.astronaut`).
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import ffmpeg as command
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from clipflow.media import ffmpeg
from clipflow.reframe.crop import CropPath, cropped

Pixels = NDArray[np.uint8]

# Pixels: the picture's side, and the box of the face in it.
SIDE = 160
FACE = (44, 36, 76, 76)
FFMPEGS = (ffmpeg.executable(), str(imageio_ffmpeg.get_ffmpeg_exe()))
TIMESCALE = 90_000


@dataclass(frozen=True)
class Shown:
    """A frame: its time in seconds, its scene, the face's centre and side, and those of others."""

    time: float
    scene: int = 0
    face: tuple[float, float] | None = None
    side: int = FACE[2]
    others: tuple[tuple[float, float, int], ...] = ()


def film(
    path: Path,
    frames: Sequence[Shown],
    size: tuple[int, int] = (640, 360),
    options: dict[str, str] | None = None,
) -> Path:
    """Write the frames to `path` as H.264 in MP4."""
    scenes = {frame.scene: _scene(frame.scene, size) for frame in frames}
    with av.open(str(path), "w", format="mp4") as container:
        how = options or {"preset": "ultrafast"}
        stream = container.add_stream("libx264", rate=30, options=how)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, TIMESCALE)
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(_picture(scenes[frame.scene], frame), "bgr24")
            picture.pts, picture.time_base = round(frame.time * TIMESCALE), stream.time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def portrait() -> Pixels:
    found = cv2.imread(str(Path(__file__).with_name("face.jpg")))
    assert found is not None
    return np.asarray(found, np.uint8)


def _scene(number: int, size: tuple[int, int]) -> Pixels:
    """Blurred patches of colour, different for each number; plain grey for a negative number."""
    if number < 0:
        return np.full((size[1], size[0], 3), 128, np.uint8)
    patches = np.random.default_rng(number).integers(40, 215, (5, 8, 3), np.uint8)
    return np.asarray(cv2.resize(patches, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _picture(scene: Pixels, frame: Shown) -> Pixels:
    picture = scene.copy()
    if frame.face:
        _put(picture, *frame.face, frame.side)
    for other in frame.others:
        _put(picture, *other)
    return picture


def _put(picture: Pixels, x: float, y: float, side: int) -> None:
    scale = side / FACE[2]
    face = cv2.resize(portrait(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    left = round(x - (FACE[0] + FACE[2] / 2) * scale)
    top = round(y - (FACE[1] + FACE[3] / 2) * scale)
    height, width = picture.shape[:2]
    over = np.s_[max(0, top) : top + face.shape[0], max(0, left) : left + face.shape[1]]
    picture[over] = face[max(0, -top) : height - top, max(0, -left) : width - left]


def rendered(
    video: Path, path: CropPath, program: str, options: Sequence[str] = (), **input_options: Any
) -> Pixels:
    """The frames of the video, cropped, in grey: (frames, height, width).

    `input_options` are options of the input, `options` those of the output.
    """
    stream = cropped(command.input(str(video), **input_options)["v:0"], path)
    raw = video.with_suffix(".grey")
    output = command.output(
        stream, str(raw), format="rawvideo", pix_fmt="gray", fps_mode="passthrough"
    )
    arguments = [*map(str, command.get_args(output)), *options]
    subprocess.run([program, "-nostdin", "-v", "error", "-y", *arguments], check=True)
    return np.fromfile(raw, np.uint8).reshape(-1, path.height, path.width)


def faces_in(frames: Pixels) -> list[tuple[int, int] | None]:
    """The upper left corner of the face in each frame; None if it is not completely visible."""
    left, top, width, height = FACE
    grey = cv2.cvtColor(portrait(), cv2.COLOR_BGR2GRAY)[top : top + height, left : left + width]
    found: list[tuple[int, int] | None] = []
    for frame in frames:
        _, score, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(frame, grey, cv2.TM_CCOEFF_NORMED))
        found.append((x, y) if score > 0.8 else None)
    return found
