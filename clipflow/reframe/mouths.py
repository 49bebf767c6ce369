"""How lively a mouth is at each time: measured without a model, or by a model of the user's own."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from clipflow.domain.errors import NotInstalledError
from clipflow.reframe.faces import ALIGNED_HEIGHT, ALIGNED_WIDTH, Pixels
from clipflow.reframe.people import FaceTrack

# Times in seconds and how lively the mouth is at each, in order.
Motion = Sequence[tuple[float, float]]

# Rows and columns of an aligned face: between the lips, above them, and the forehead.
_LIPS, _ABOVE, _FOREHEAD = np.s_[58:70, 24:40], np.s_[46:52, 8:56], np.s_[4:44, 8:56]
# Seconds between two samples that can be compared.
_COMPARABLE = 0.3


class MouthActivity(Protocol):
    """Measures how lively the mouth of a track is, from 0 on.

    `speaking` is the activity below which a mouth is calm, whoever's it is.
    """

    @property
    def speaking(self) -> float: ...

    def __call__(self, track: FaceTrack) -> Motion: ...


class MouthMotion:
    """How much the gap between the lips changes from sample to sample. Needs no model."""

    # Measured on talking heads: they reach 0.05 to 0.4, and heads that listen 0 to 0.04.
    speaking = 0.05

    def __call__(self, track: FaceTrack) -> Motion:
        openings = [(time, _opening(aligned)) for time, aligned in _aligned(track)]
        return [
            (time, abs(opening - before))
            for (last, before), (time, opening) in pairwise(openings)
            if time - last <= _COMPARABLE
        ]


class MouthModel:
    """A model in ONNX, from a file of the user's.

    It has one input, the faces of one person in order: float32, (faces, 80, 64), grey from 0 to 1,
    turned and scaled so that the eyes are at (20, 32) and (44, 32), counted from the left and from
    above, and the tip of the nose at (32, 47). There are five to eight of them in each second. It
    has one output: float32, (faces,), from 0, does not speak, to 1, speaks.

    Raises NotInstalledError where the file cannot be loaded or is not such a model.
    """

    speaking = 1.0

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
    """The measure by the model at `model`, or the one without a model."""
    return MouthModel(model) if model else MouthMotion()


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
