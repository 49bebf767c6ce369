"""Whom to follow in a shot: the largest and most constant face, and no other beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from clipflow.reframe.analysis import Look
from clipflow.reframe.faces import Face

# Seconds for which a face may turn away and still be the same one.
_ABSENCE = 1.5
# In faces: how far one goes between two looks, and how much more for each second in between; how
# much larger or smaller it gets.
_STEP, _STRIDE, _GROWTH = 0.6, 1.0, 1.6
# A face is seen as often, and in so much of the looks between its first and last, or it is none.
_SIGHTINGS, _CONSTANT = 3, 0.4
# Seconds: who takes another's place stays as long.
_STAY = 2.0
# Looks over which a face's place is the median: half a second of nonsense does not count.
_WINDOW = 5


@dataclass
class Track:
    """One face's times in seconds, and where it was, in order."""

    times: list[float] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)

    @property
    def weight(self) -> float:
        return sum(face.size for face in self.faces)

    @property
    def length(self) -> float:
        return self.times[-1] - self.times[0]

    def distance(self, time: float, face: Face) -> float | None:
        """In faces, from where it was last seen; None where it cannot be the same one."""
        last, gap = self.faces[-1], time - self.times[-1]
        far = max(abs(face.x - last.x), abs(face.y - last.y)) / max(face.size, last.size)
        grown = max(face.size, last.size) / min(face.size, last.size)
        same = 0 < gap <= _ABSENCE and far <= _STEP + _STRIDE * gap and grown <= _GROWTH
        return far if same else None


def subject(looks: Sequence[Look]) -> list[tuple[float, Face]]:
    """The face to follow through the looks of one shot, by seconds; empty where there is none.

    Only where the first choice is not to be seen for long may another one take its place.
    """
    kept = [track for track in _tracks(looks) if _is_real(track, looks)]
    chosen: list[Track] = []
    for track in sorted(kept, key=lambda track: track.weight, reverse=True):
        free = all(
            track.times[-1] < other.times[0] or other.times[-1] < track.times[0] for other in chosen
        )
        if free and (not chosen or track.length >= _STAY):
            chosen.append(track)
    chosen.sort(key=lambda track: track.times[0])
    return [
        pair for track in chosen for pair in zip(track.times, _steadied(track.faces), strict=True)
    ]


def _tracks(looks: Sequence[Look]) -> list[Track]:
    tracks: list[Track] = []
    for look in looks:
        recent = [track for track in tracks if look.time - track.times[-1] <= _ABSENCE]
        for face in look.faces:
            far = {at: track.distance(look.time, face) for at, track in enumerate(recent)}
            near = {at: distance for at, distance in far.items() if distance is not None}
            track = recent[min(near, key=near.__getitem__)] if near else Track()
            if not near:
                tracks.append(track)
            track.times.append(look.time)
            track.faces.append(face)
    return tracks


def _is_real(track: Track, looks: Sequence[Look]) -> bool:
    between = [look for look in looks if track.times[0] <= look.time <= track.times[-1]]
    enough = min(_SIGHTINGS, len(looks))
    return len(track.times) >= max(enough, _CONSTANT * len(between))


def _steadied(faces: Sequence[Face]) -> list[Face]:
    reach = _WINDOW // 2
    windows = [faces[max(0, at - reach) : at + reach + 1] for at in range(len(faces))]
    return [
        Face(
            median(face.x for face in window),
            median(face.y for face in window),
            median(face.size for face in window),
        )
        for window in windows
    ]
