"""Finding faces in one picture. Imported late: OpenCV takes a while to load."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from clipflow.domain.errors import NotInstalledError

Pixels = NDArray[np.uint8]

# Of a picture's shorter side: smaller faces are bystanders, and most of what is no face is small.
_SMALLEST = 0.1
# Between two sizes that are tried. How many hits must agree; beside a face known already, fewer.
_STEP, _AGREEING, _AGREEING_NEAR = 1.2, 5, 3
# How much larger or smaller a known face may have become, and how far around it, in faces.
_GROWTH, _AROUND = 1.4, 0.75
# YuNet's own sure faces score 0.9; half-turned ones less.
_SURE = 0.7


@dataclass(frozen=True)
class Face:
    """A face's centre and its size (the mean of its sides), in pixels of the picture."""

    x: float
    y: float
    size: float


class Finder(Protocol):
    """Faces in a BGR picture: anywhere in it, or near faces known from a moment before."""

    def anywhere(self, picture: Pixels) -> list[Face]: ...

    def near(self, picture: Pixels, known: Sequence[Face]) -> list[Face]: ...


def finder(model: Path | None) -> Finder:
    """YuNet with `model`, else OpenCV's own cascades. Raises NotInstalledError where it is no
    model."""
    return YuNet(model) if model else Cascades()


class YuNet:
    """OpenCV's FaceDetectorYN with a YuNet model file (ONNX)."""

    def __init__(self, model: Path) -> None:
        try:
            self._net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), _SURE)
        except cv2.error as error:
            raise NotInstalledError(
                f"CLIPFLOW_FACE_MODEL: {model} cannot be loaded: {error.err}.",
                "Name a YuNet model that OpenCV 4 reads, or leave the setting out.",
            ) from None

    def anywhere(self, picture: Pixels) -> list[Face]:
        height, width = picture.shape[:2]
        self._net.setInputSize((width, height))
        found: Any = self._net.detect(picture)[1]
        boxes = [] if found is None else found[:, :4].tolist()
        least = _SMALLEST * min(width, height)
        return [face for face in map(_face, boxes) if face.size >= least]

    def near(self, picture: Pixels, known: Sequence[Face]) -> list[Face]:
        # A whole search is cheap enough.
        return self.anywhere(picture)


class Cascades:
    """The Haar cascades that OpenCV 4 ships: faces from the front, and from both sides."""

    def __init__(self) -> None:
        self._front = _cascade("haarcascade_frontalface_alt2.xml")
        self._side = _cascade("haarcascade_profileface.xml")
        self._mirrors = False

    def anywhere(self, picture: Pixels) -> list[Face]:
        grey = _grey(picture)
        least = _SMALLEST * min(grey.shape)
        found = _search(self._front, grey, least, max(grey.shape), _AGREEING)
        if found:
            return found
        # Sides are dear, so of two searches each looks at one.
        self._mirrors = not self._mirrors
        return self._sides(grey, least, max(grey.shape), _AGREEING, [self._mirrors])

    def near(self, picture: Pixels, known: Sequence[Face]) -> list[Face]:
        grey = _grey(picture)
        faces: list[Face] = []
        for face in known:
            faces += [new for new in self._beside(grey, face) if not _is_among(new, faces)]
        return faces

    def _beside(self, grey: Pixels, face: Face) -> list[Face]:
        reach = (0.5 + _AROUND) * face.size
        left, top = max(0, round(face.x - reach)), max(0, round(face.y - reach))
        part = grey[top : round(face.y + reach), left : round(face.x + reach)]
        sizes = face.size / _GROWTH, face.size * _GROWTH
        found = _search(self._front, part, *sizes, _AGREEING_NEAR)
        found = found or self._sides(part, *sizes, _AGREEING_NEAR, [False, True])
        return [Face(new.x + left, new.y + top, new.size) for new in found]

    def _sides(
        self, grey: Pixels, least: float, most: float, agreeing: int, mirrors: Sequence[bool]
    ) -> list[Face]:
        # The cascade knows faces that look to the left; those that look right do so mirrored.
        faces: list[Face] = []
        for mirrored in mirrors:
            picture = grey[:, ::-1] if mirrored else grey
            found = _search(self._side, np.ascontiguousarray(picture), least, most, agreeing)
            if mirrored:
                found = [Face(grey.shape[1] - face.x, face.y, face.size) for face in found]
            faces += [face for face in found if not _is_among(face, faces)]
        return faces


def _cascade(name: str) -> cv2.CascadeClassifier:
    folder = Path(cv2.__file__).parent / "data"
    return cv2.CascadeClassifier(str(folder / name))


def _grey(picture: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def _search(
    cascade: cv2.CascadeClassifier, grey: Pixels, least: float, most: float, agreeing: int
) -> list[Face]:
    boxes = cascade.detectMultiScale(
        grey,
        scaleFactor=_STEP,
        minNeighbors=agreeing,
        minSize=(round(least), round(least)),
        maxSize=(round(most), round(most)),
    )
    return [_face(box) for box in boxes]


def _face(box: Sequence[float]) -> Face:
    left, top, width, height = map(float, box)
    return Face(left + width / 2, top + height / 2, (width + height) / 2)


def _is_among(face: Face, faces: Sequence[Face]) -> bool:
    return any(
        max(abs(face.x - other.x), abs(face.y - other.y)) < other.size / 2 for other in faces
    )
