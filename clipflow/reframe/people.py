"""The people in a video: faces joined to tracks within a shot, and tracks to persons over cuts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from clipflow.reframe.analysis import Analysis, FaceSample
from clipflow.reframe.faces import Face

# Seconds without a detection after which a face is a new one: in general, and if it reappears where
# it was.
_ABSENCE, _LONG_ABSENCE = 1.5, 3.0
# How far a face moves between two samples, and how much more per second between them, in sizes of
# the face; and by which factor its size changes at most.
_STEP, _STRIDE, _GROWTH = 0.6, 1.0, 1.6
# A track with fewer samples, or with a smaller share of the samples between its first and last, is
# a false detection.
_SIGHTINGS, _CONSTANT = 3, 0.4
# A person is seen in at least this share of a shot, at this size relative to the largest face;
# others are bystanders.
_PRESENCE, _SMALL = 0.3, 0.22
# The change of an aligned face between two samples, of 255: below the first it is a picture on a
# wall, above the second a person. The noise of compression lies between them.
_STILL, _MOVING = 0.25, 3.0
# The number of samples whose median is a face's place: errors of half a second are ignored.
_WINDOW = 5
# Coefficients of a face's appearance a side, and how alike two descriptors of one person are.
_DETAIL, _ALIKE = 8, 0.9


@dataclass(eq=False)
class FaceTrack:
    """One face through a shot: the times of its samples in seconds, and where it was, in order."""

    times: list[float] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)
    person: int = 0

    @cached_property
    def size(self) -> float:
        """The face's usual size in pixels."""
        return median(face.size for face in self.faces)

    @property
    def weight(self) -> float:
        return sum(face.size for face in self.faces)

    @cached_property
    def steadied(self) -> list[Face]:
        """The faces without the detector's errors: medians over a few samples."""
        reach = _WINDOW // 2
        windows = [self.faces[max(0, n - reach) : n + reach + 1] for n in range(len(self.faces))]
        return [
            Face(*(median(getattr(face, name) for face in window) for name in ("x", "y", "size")))
            for window in windows
        ]

    @cached_property
    def descriptor(self) -> NDArray[np.float32]:
        """The face's appearance: low frequencies of its mean, free of brightness and contrast."""
        mean = np.mean([face.aligned for face in self.faces if face.aligned is not None], axis=0)
        coefficients = cv2.dct(cv2.resize(mean.astype(np.float32), (64, 64)))
        low = coefficients[:_DETAIL, :_DETAIL].flatten()[1:]
        return np.asarray(low / max(float(np.linalg.norm(low)), 1e-6), np.float32)

    @cached_property
    def motion(self) -> float:
        """How much the aligned face changes between two samples, of 255."""
        faces = [f.aligned.astype(np.int16) for f in self.faces if f.aligned is not None]
        changes = [float(np.abs(b - a).mean()) for a, b in pairwise(faces)]
        return float(np.percentile(changes, 95)) if changes else 0.0

    def during(self, start: float, end: float) -> list[tuple[float, Face]]:
        """The steadied faces of `start ≤ t ≤ end` with their times."""
        pairs = zip(self.times, self.steadied, strict=True)
        return [(time, face) for time, face in pairs if start <= time <= end]

    def nearest(self, time: float) -> Face:
        """The face as it was seen nearest to `time`."""
        at = min(range(len(self.times)), key=lambda n: abs(self.times[n] - time))
        return self.steadied[at]

    def distance(self, time: float, face: Face) -> float | None:
        """The distance from the last sample in sizes of the face; None for another face."""
        last, gap = self.faces[-1], time - self.times[-1]
        far = max(abs(face.x - last.x), abs(face.y - last.y)) / max(face.size, last.size)
        grown = max(face.size, last.size) / min(face.size, last.size)
        reach = _STEP + _STRIDE * gap if gap <= _ABSENCE else _STEP
        same = 0 < gap <= _LONG_ABSENCE and far <= reach and grown <= _GROWTH
        return far if same else None


@dataclass(frozen=True)
class Shot:
    """A span of seconds between two cuts of the picture, and the people in it, from left to right.

    `tracks` are those of people who may speak: not of bystanders, nor of pictures on a wall.
    """

    start: float
    end: float
    tracks: tuple[FaceTrack, ...]


def find_people(analysis: Analysis) -> list[Shot]:
    """The shots with the tracks of their people, who are numbered over the whole video."""
    shots = []
    for start, end in analysis.shots:
        # A shot's end lies between two frames, or is the last one.
        samples = [sample for sample in analysis.samples if start <= sample.time <= end]
        tracks = [track for track in _tracks(samples) if _is_real(track, samples)]
        people = _without_bystanders(tracks, samples)
        people.sort(key=lambda track: median(face.x for face in track.faces))
        shots.append(Shot(start, end, tuple(people)))
    _identify(shots)
    return shots


def _tracks(samples: Sequence[FaceSample]) -> list[FaceTrack]:
    tracks: list[FaceTrack] = []
    for sample in samples:
        recent = [track for track in tracks if sample.time - track.times[-1] <= _LONG_ABSENCE]
        # The nearest pairs first, so that two people who pass each other keep their tracks.
        pairs = sorted(
            (distance, place, number)
            for place, face in enumerate(sample.faces)
            for number, track in enumerate(recent)
            if (distance := track.distance(sample.time, face)) is not None
        )
        taken: dict[int, FaceTrack] = {}
        for _, place, number in pairs:
            if place not in taken and recent[number] not in taken.values():
                taken[place] = recent[number]
        for place, face in enumerate(sample.faces):
            track = taken.get(place)
            if track is None:
                track = FaceTrack()
                tracks.append(track)
            track.times.append(sample.time)
            track.faces.append(face)
    return tracks


def _is_real(track: FaceTrack, samples: Sequence[FaceSample]) -> bool:
    between = [sample for sample in samples if track.times[0] <= sample.time <= track.times[-1]]
    enough = min(_SIGHTINGS, len(samples))
    return len(track.times) >= max(enough, _CONSTANT * len(between))


def _without_bystanders(
    tracks: Sequence[FaceTrack], samples: Sequence[FaceSample]
) -> list[FaceTrack]:
    if not tracks:
        return []
    largest = max(track.size for track in tracks)
    # If no one moves, as in a photograph, all of them are the subject.
    any_moves = any(track.motion >= _MOVING for track in tracks)
    alive = [track for track in tracks if track.motion >= _STILL or not any_moves]
    kept = [
        track
        for track in alive
        if track.size >= _SMALL * largest and len(track.times) >= _PRESENCE * len(samples)
    ]
    return kept or [max(alive, key=lambda track: track.weight)]


def _identify(shots: Sequence[Shot]) -> None:
    """Give the tracks of one person one number, by their faces' appearance."""
    known: list[NDArray[np.float32]] = []
    for shot in shots:
        free = dict(enumerate(known))
        for track in sorted(shot.tracks, key=lambda track: track.weight, reverse=True):
            alike = {number: float(track.descriptor @ other) for number, other in free.items()}
            best = max(alike, key=alike.__getitem__, default=None)
            if best is None or alike[best] < _ALIKE:
                best = len(known)
                known.append(track.descriptor)
            free.pop(best, None)
            track.person = best
