"""The frame of a short that makes the best thumbnail: a large, sharp face with open eyes, well
exposed, between two frames that hardly differ, so in no transition; or a sharp picture without a
face. Imported late, because OpenCV takes a while to load."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from clipflow.domain.errors import MediaRefusedError
from clipflow.reframe.analysis import Film, seen_frames
from clipflow.reframe.faces import Face, FaceDetector, Pixels
from clipflow.reframe.mouths import MouthLandmarks, packaged_landmarks

# Seconds between two candidates, and the most of them in a long short.
_INTERVAL, _MOST = 0.5, 120
# The longer side of the picture that is looked at, in pixels, and of the one that frames are
# compared in.
_SIDE, _COMPARED_SIDE = 640, 64
# Seconds beside an intro and outro without candidates, because their frames are at rounded times.
_BESIDE = 0.1
# The share of the picture's width from which a face counts as large.
_LARGE = 0.35
# The weight of a frame without a face, if others have one.
_FACELESS = 0.2
# Brightness from 0 to 255 between which a picture is well exposed, and how quickly it gets worse.
_DARK, _BRIGHT, _TOLERANCE = 70.0, 190.0, 60.0
# The mean change of a pixel from frame to frame, of 255, above which something moves or changes.
_MOVING = 12.0
# Candidates whose eyes are measured, which takes 5 ms each.
_EYES_MEASURED = 24
# The height of an open eye in widths of it; a closed one has less than half of that.
_OPEN_EYE = 0.25


@dataclass(frozen=True)
class Candidate:
    """A frame at `time` seconds: its largest face, sharpness (the variance of the Laplacian),
    brightness, and how much it differs from the frames around it."""

    time: float
    face: Face | None
    share: float
    sharpness: float
    brightness: float
    change: float = 0.0


def best_time(path: Path, face_model: Path | None, intro: float = 0, outro: float = 0) -> float:
    """The time of the best frame of the short at `path`, in seconds after its first frame.

    Frames of the first `intro` and the last `outro` seconds are not considered. Raises
    MediaRefusedError if it has no frame that can be decoded.
    """
    found = _candidates(Film(path), FaceDetector(face_model), intro, outro)
    if not found:
        raise MediaRefusedError(f"{path.name} has no frame that can be decoded.")
    ranked = sorted(((_quality(each, found), each) for each in found), key=lambda pair: -pair[0])
    landmarks = packaged_landmarks()
    if landmarks:
        first = ranked[:_EYES_MEASURED]
        ranked = [(quality * _openness(each, landmarks), each) for quality, each in first]
    return max(ranked, key=lambda pair: pair[0])[1].time


def _candidates(film: Film, detector: FaceDetector, intro: float, outro: float) -> list[Candidate]:
    times = film.packet_times
    length = float(times[-1] - times[0]) if times else 0.0
    interval = max(_INTERVAL, length / _MOST)
    start = intro + _BESIDE if intro else 0.0
    end = length - outro - _BESIDE if outro else length
    found: list[Candidate] = []
    small: list[tuple[float, Pixels]] = []
    due = 0.0
    for time, frame in seen_frames(film):
        if not start <= time <= end:
            continue
        side = max(film.shown)
        small.append((time, film.scaled(frame, _COMPARED_SIDE / side)))
        if time >= due:
            due = time + interval
            found.append(_candidate(time, film.scaled(frame, min(1.0, _SIDE / side)), detector))
    changes = _changes(small)
    return [replace(each, change=changes.get(each.time, 0.0)) for each in found]


def _candidate(time: float, picture: Pixels, detector: FaceDetector) -> Candidate:
    face = next(iter(detector.detect(picture)), None)
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    _, width = grey.shape
    seen = grey
    if face:
        left, top, right, bottom = (max(0, int(edge)) for edge in face.box)
        seen = grey[top:bottom, left:right]
    if not seen.size:
        face, seen = None, grey
    return Candidate(
        time=time,
        face=face,
        share=face.size / width if face else 0.0,
        sharpness=float(cv2.Laplacian(seen, cv2.CV_64F).var()),
        brightness=float(seen.mean()),
    )


def _changes(small: Sequence[tuple[float, Pixels]]) -> dict[float, float]:
    """How much each frame differs from the one before or after it, whichever it is more."""
    steps = [
        float(np.abs(after.astype(np.int16) - before).mean())
        for (_, before), (_, after) in pairwise(small)
    ]
    around = zip([0.0, *steps], [*steps, 0.0], strict=True)
    return {time: max(pair) for (time, _), pair in zip(small, around, strict=False)}


def _quality(each: Candidate, among: Sequence[Candidate]) -> float:
    """The quality of a candidate among others, above 0 and at most 1, without its eyes."""
    has_face = any(other.face for other in among)
    alike = [other.sharpness for other in among if bool(other.face) == bool(each.face)]
    sharp = each.sharpness / (each.sharpness + float(np.median(alike)) + 1e-6)
    outside = max(_DARK - each.brightness, each.brightness - _BRIGHT, 0.0)
    exposure = max(0.05, 1 - outside / _TOLERANCE)
    steady = 1 / (1 + (each.change / _MOVING) ** 2)
    size = _FACELESS + (1 - _FACELESS) * min(1.0, each.share / _LARGE) if has_face else 1.0
    return max(1e-6, sharp * exposure * steady * size)


def _openness(each: Candidate, landmarks: MouthLandmarks) -> float:
    """How open the eyes are, from 0.1 to 1; 1 without a face."""
    if each.face is None or each.face.with_margin is None:
        return 1.0
    return max(0.1, min(1.0, landmarks.eyes(each.face.with_margin) / _OPEN_EYE))
