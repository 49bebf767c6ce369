"""The people in a video: faces joined to tracks within a shot, and tracks to persons over cuts."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, pairwise
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from clipflow.reframe.analysis import Analysis, FaceSample
from clipflow.reframe.faces import Face, Pixels
from clipflow.reframe.text import Still, is_document

# Seconds without a detection after which a face starts a new track; and the same for a face that
# reappears where it was.
_MAX_GAP, _MAX_GAP_IN_PLACE = 1.5, 3.0
# How far a face moves between two samples at most, and how much further for each second between
# them, both in sizes of the face.
_MAX_STEP, _MAX_SPEED = 0.6, 1.0
# By which factor a face's size changes between two samples at most.
_MAX_GROWTH = 1.6
# Seconds for which a face that is not detected is expected to continue its last movement.
_EXTRAPOLATION = 0.5
# A track with fewer samples than this is a false detection, and so is one that was detected in a
# smaller share of the samples between its first and its last.
_MIN_SAMPLES, _MIN_DETECTED = 3, 0.4
# A person is seen in at least this share of a shot, and has at least this share of the largest
# face's size. Others are bystanders.
_MIN_PRESENCE, _MIN_RELATIVE_SIZE = 0.3, 0.22
# Percent of a face's contrast by which it changes at least if it is no picture: two images of the
# face are aligned, and the block that differs most is measured. Between images of a picture only
# noise differs; in a person's face, the eyes, the mouth and the sides of a turned head do.
# Measured: pictures on slides 0 to 0.1, pictures on a wall before a handheld camera 1 to 3, people
# who listen 13 to 30, people who speak 17 to 120.
_MIN_CHANGE = 5.0
# Small faces are noisier: with a size of 20 pixels, pictures reach 14 percent and people 28. This
# divided by the face's size in pixels is the least change of a small face.
_NOISE = 300.0
# Seconds between the two images of a face that are compared, and how many pairs at most.
_PAIR_SECONDS, _MAX_PAIRS = 0.35, 10
# The percentiles that stand for all blocks of a pair, and for all pairs.
_BLOCK_PERCENTILE, _PAIR_PERCENTILE = 98, 80
# How far a person's face moves at least before a camera that stands still, in pixels of the picture
# in which it is detected. Measured: pictures on slides and walls move by 0.3 to 1.1.
_MIN_SWAY = 1.6
# A camera stands still if at most this share of the background's pixels changes from one still to
# the next by more than this, of 255. The background is further from a face than so many of its
# sizes.
_MAX_MOVED, _PIXEL_CHANGE, _BODY_REACH = 0.1, 6, 1.5
# The side of a block, and the margin of a face that is not compared, in pixels.
_BLOCK, _MARGIN = 8, 8
# The number of samples whose median is a face's place, so that errors of half a second are ignored.
_MEDIAN_SAMPLES = 5
# A face's appearance is described by so many coefficients in each direction.
_COEFFICIENTS = 8
# How similar two descriptors of one person are at least. Measured with the tracks of 11 people: two
# of one person have 0.34 to 1, half of them 0.94 or more; two of different people at most 0.88.
_MIN_SIMILARITY = 0.9
# The same for two faces in one place before one camera: by which factor their sizes differ at most,
# and how far they are apart at most, in sizes.
_MIN_SIMILARITY_IN_PLACE, _MAX_SIZE_RATIO, _MAX_DISTANCE = 0.55, 1.25, 0.4
# When the alignment of two images of a face ends: after 15 iterations, or below this change.
_ALIGNMENT_END = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 15, 1e-3)


@dataclass(eq=False)
class FaceTrack:
    """One face through a shot: the times of its samples in seconds, and where it was, in order."""

    times: list[float] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)
    person: int = 0
    # Whether it is a person, not a picture on a wall or a slide.
    is_alive: bool = True

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
        reach = _MEDIAN_SAMPLES // 2
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
        low = coefficients[:_COEFFICIENTS, :_COEFFICIENTS].flatten()[1:]
        return np.asarray(low / max(float(np.linalg.norm(low)), 1e-6), np.float32)

    @cached_property
    def sharpness(self) -> float:
        """The face's usual size in the pictures in which it was detected; 0 if not known."""
        return median(face.sharpness for face in self.faces)

    @property
    def sways(self) -> bool:
        """Whether the face moves in the picture, by more than the errors of the detector."""
        places = np.array([(face.x, face.y) for face in self.faces])
        if len(places) < _MIN_SAMPLES:
            return False
        means = np.mean([places[n : len(places) - 2 + n] for n in range(3)], axis=0)
        low, high = np.percentile(means, [10, 90], axis=0)
        seen = self.sharpness or self.size
        return float((high - low).max()) / self.size * seen >= _MIN_SWAY

    @cached_property
    def changes(self) -> bool:
        """Whether the face changes in itself, unlike that in a picture, however the camera moves.

        True if that cannot be said.
        """
        seen = [
            (time, face.aligned if face.with_margin is None else face.with_margin)
            for time, face in zip(self.times, self.faces, strict=True)
        ]
        known = [(time, picture) for time, picture in seen if picture is not None]
        changes = []
        for first in np.linspace(0, len(known) - 1, min(_MAX_PAIRS, len(known)), dtype=int):
            later = (
                picture
                for time, picture in known[first:]
                if time - known[first][0] >= _PAIR_SECONDS
            )
            other = next(later, None)
            change = None if other is None else _change(known[first][1], other)
            changes += [] if change is None else [change]
        bound = max(_MIN_CHANGE, _NOISE / self.sharpness if self.sharpness else 0.0)
        return not changes or float(np.percentile(changes, _PAIR_PERCENTILE)) >= bound

    def during(self, start: float, end: float) -> list[tuple[float, Face]]:
        """The steadied faces of `start ≤ t ≤ end` with their times."""
        pairs = zip(self.times, self.steadied, strict=True)
        return [(time, face) for time, face in pairs if start <= time <= end]

    def nearest(self, time: float) -> Face:
        """The face as it was seen nearest to `time`."""
        at = min(range(len(self.times)), key=lambda n: abs(self.times[n] - time))
        return self.steadied[at]

    def _expected(self, gap: float) -> tuple[float, float]:
        """Where the face is `gap` seconds after its last sample if it moves on as it did."""
        since = bisect_left(self.times, self.times[-1] - _EXTRAPOLATION)
        first, last = self.faces[since], self.faces[-1]
        passed = max(self.times[-1] - self.times[since], 1e-6)
        share = min(gap, _EXTRAPOLATION) / passed
        return last.x + share * (last.x - first.x), last.y + share * (last.y - first.y)

    def distance(self, time: float, face: Face) -> float | None:
        """The distance from where the face is expected, in sizes of it; None for another face."""
        last, gap = self.faces[-1], time - self.times[-1]
        stays, moves_on = (
            max(abs(face.x - x), abs(face.y - y)) / max(face.size, last.size)
            for x, y in ((last.x, last.y), self._expected(gap))
        )
        grown = max(face.size, last.size) / min(face.size, last.size)
        reach = _MAX_STEP + _MAX_SPEED * gap if gap <= _MAX_GAP else _MAX_STEP
        same = (
            0 < gap <= _MAX_GAP_IN_PLACE and min(stays, moves_on) <= reach and grown <= _MAX_GROWTH
        )
        return moves_on if same else None


@dataclass(frozen=True)
class Shot:
    """A span of seconds between two cuts of the picture, and the people in it, from left to right.

    `tracks` are those of people who may speak: not of bystanders, nor of pictures on a wall,
    unless there are only pictures. `is_document` if the picture is a slide or a screen.
    """

    start: float
    end: float
    tracks: tuple[FaceTrack, ...]
    is_document: bool = False


def find_people(analysis: Analysis) -> list[Shot]:
    """The shots with the tracks of their people, who are numbered over the whole video."""
    shots = []
    for start, end in analysis.shots:
        # A shot's end lies between two frames, or is the last one.
        samples = [sample for sample in analysis.samples if start <= sample.time <= end]
        tracks = [track for track in _tracks(samples) if _is_real(track, samples)]
        stills = [still for still in analysis.stills if start <= still.time <= end]
        stands = _camera_stands(stills, tracks, max(analysis.width, analysis.height))
        for track in tracks:
            track.is_alive = track.changes or (stands and track.sways)
        people = _without_bystanders(tracks, samples)
        people.sort(key=lambda track: median(face.x for face in track.faces))
        shots.append(Shot(start, end, tuple(people), is_document(stills)))
    _identify(shots)
    return shots


def _tracks(samples: Sequence[FaceSample]) -> list[FaceTrack]:
    tracks: list[FaceTrack] = []
    last = samples[0].time if samples else 0.0
    for sample in samples:
        # The picture stands still until the next frame, which may be a minute.
        still = max(0.0, sample.time - last - _MAX_GAP)
        last = sample.time
        now = sample.time - still
        recent = [track for track in tracks if now - track.times[-1] <= _MAX_GAP_IN_PLACE]
        # The nearest pairs first, so that two people who pass each other keep their tracks.
        pairs = sorted(
            (distance, place, number)
            for place, face in enumerate(sample.faces)
            for number, track in enumerate(recent)
            if (distance := track.distance(now, face)) is not None
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
    enough = min(_MIN_SAMPLES, len(samples))
    return len(track.times) >= max(enough, _MIN_DETECTED * len(between))


def _camera_stands(stills: Sequence[Still], tracks: Sequence[FaceTrack], longest: int) -> bool:
    """Whether nearly all of the picture around the faces stands still. Not known of one still."""
    if len(stills) < 2:
        return False
    ratio = max(stills[0].picture.shape) / longest
    around = np.ones(stills[0].picture.shape, np.bool_)
    for track in tracks:
        for face in track.faces:
            reach = _BODY_REACH * face.size
            left, top, right, bottom = (
                max(0, round(at * ratio))
                for at in (face.x - reach, face.y - reach, face.x + reach, face.y + reach)
            )
            around[top:bottom, left:right] = False
    changes = [
        np.abs(after.picture.astype(np.int16) - before.picture)[around] > _PIXEL_CHANGE
        for before, after in pairwise(stills)
    ]
    moved = [float(change.mean()) if change.size else 1.0 for change in changes]
    return median(moved) <= _MAX_MOVED


def _without_bystanders(
    tracks: Sequence[FaceTrack], samples: Sequence[FaceSample]
) -> list[FaceTrack]:
    if not tracks:
        return []
    # If no one moves, as in a photograph, all of them are the subject.
    alive = [track for track in tracks if track.is_alive] or list(tracks)
    largest = max(track.size for track in alive)
    kept = [
        track
        for track in alive
        if track.size >= _MIN_RELATIVE_SIZE * largest
        and len(track.times) >= _MIN_PRESENCE * len(samples)
    ]
    return kept or [max(alive, key=lambda track: track.weight)]


def _change(one: Pixels, other: Pixels) -> float | None:
    """The difference of two pictures of a face where it is greatest, in percent of its contrast.

    `other` is first put over `one`, as well as an affine map can, and made as bright. None if that
    fails.
    """
    before, after = one.astype(np.float32), other.astype(np.float32)
    still = np.eye(2, 3, dtype=np.float32)
    everywhere = np.full(one.shape, 255, np.uint8)
    try:
        _, over = cv2.findTransformECC(
            before, after, still, cv2.MOTION_AFFINE, _ALIGNMENT_END, everywhere, 5
        )
    except cv2.error:
        return None
    size = (before.shape[1], before.shape[0])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(after, over, size, flags=how, borderMode=cv2.BORDER_REPLICATE)
    after = np.asarray(warped, np.float32)
    inner = np.s_[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    before, after = before[inner], after[inner]
    contrast = max(float(before.std()), _MARGIN)
    slope = float(((after - after.mean()) * (before - before.mean())).mean())
    slope /= max(float(after.var()), 1.0)
    apart = cv2.GaussianBlur(before - before.mean() - slope * (after - after.mean()), (0, 0), 1.5)
    rows, columns = (side // _BLOCK for side in apart.shape)
    blocks = np.abs(apart[: rows * _BLOCK, : columns * _BLOCK])
    means = blocks.reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3))
    return 100 * float(np.percentile(means, _BLOCK_PERCENTILE)) / contrast


def _identify(shots: Sequence[Shot]) -> None:
    """Give the tracks of one person one number, in the order in which people are first seen.

    Two tracks are one person if their faces are alike; and if they are in the same place of two
    shots in which another person is in the same place too, which is one camera, if their faces
    are not unlike. Two tracks of one shot are never one person.
    """
    tracks = [
        (number, track)
        for number, shot in enumerate(shots)
        for track in sorted(shot.tracks, key=lambda track: track.weight, reverse=True)
    ]
    if not tracks:
        return
    faces = np.stack([track.descriptor for _, track in tracks])
    alike = faces @ faces.T
    groups = [{place} for place in range(len(tracks))]

    def join(one: int, other: int) -> None:
        both = groups[one] | groups[other]
        if len({tracks[place][0] for place in both}) == len(both):
            for place in both:
                groups[place] = both

    pairs = sorted(combinations(range(len(tracks)), 2), key=lambda pair: -alike[pair])
    for one, other in pairs:
        if alike[one, other] >= _MIN_SIMILARITY:
            join(one, other)
    in_place = {
        (one, other) for one, other in pairs if _is_in_place(tracks[one][1], tracks[other][1])
    }
    seen_again = {
        (tracks[one][0], tracks[other][0])
        for one, other in in_place
        if groups[one] is groups[other]
    }
    for one, other in pairs:
        is_one_camera = (tracks[one][0], tracks[other][0]) in seen_again
        if (
            (one, other) in in_place
            and is_one_camera
            and alike[one, other] >= _MIN_SIMILARITY_IN_PLACE
        ):
            join(one, other)
    numbers: dict[int, int] = {}
    for place, (_, track) in enumerate(tracks):
        track.person = numbers.setdefault(min(groups[place]), len(numbers))


def _is_in_place(one: FaceTrack, other: FaceTrack) -> bool:
    """Whether two faces are as large, and in the same place."""
    size = max(one.size, other.size)
    apart = (
        abs(median(getattr(f, at) for f in one.faces) - median(getattr(f, at) for f in other.faces))
        for at in ("x", "y")
    )
    return (
        size <= _MAX_SIZE_RATIO * min(one.size, other.size) and max(apart) <= _MAX_DISTANCE * size
    )
