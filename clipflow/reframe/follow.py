"""A video's crop: watched once, then planned shot by shot. Imported late, as faces.py is."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median

from clipflow.domain.errors import InvalidInputError
from clipflow.reframe.analysis import Film, analyze
from clipflow.reframe.crop import CropPath, Knot, even, largest_box, planned
from clipflow.reframe.faces import FaceDetector
from clipflow.reframe.subject import subject

# Of the crop: how far from its best place a face may go before the crop does, so that the dead
# zone is 44 % of it; less for a large face, whose sides need room, yet never so little that it
# follows each breath.
_ZONE, _LEAST_ZONE = 0.22, 0.06
# YuNet's boxes end at the chin and in the hair: the whole head is as much larger.
_HEAD = 1.15
# Where in the crop the face's centre is best, from the left and from above: so its eyes are in
# the upper third.
_ACROSS, _DOWN = 0.5, 0.4


def crop_path(film: Film, aspect: Fraction, face_model: Path | None = None) -> CropPath:
    """The largest crop of `aspect` (width / height) in `film`, and its way after the face.

    The crop stands in the middle of shots without a face. Faces are found by the YuNet model at
    `face_model`, else by the packaged one.

    Raises InvalidInputError where `aspect` is none, MediaRefusedError where `film` cannot be read,
    and NotInstalledError where `face_model` cannot.
    """
    if aspect <= 0:
        raise InvalidInputError(
            f"An aspect of {aspect} is no shape.", "Name a width over a height."
        )
    watched = analyze(film, FaceDetector(face_model))
    width, height = largest_box(watched.width, watched.height, aspect)
    x: list[Knot] = []
    y: list[Knot] = []
    for start, end in watched.shots:
        # A shot's end lies between two frames, or is the last one.
        face = subject([look for look in watched.looks if start <= look.time <= end])
        across = [(time, at.x - _ACROSS * width) for time, at in face]
        down = [(time, at.y - _DOWN * height) for time, at in face]
        head = _HEAD * median(at.size for _, at in face) if face else 0.0
        x += _edge(across, (start, end), width, watched.width, head)
        y += _edge(down, (start, end), height, watched.height, head)
    return CropPath(width, height, tuple(x), tuple(y))


def _edge(
    best: Sequence[tuple[float, float]],
    span: tuple[float, float],
    size: int,
    whole: int,
    head: float,
) -> list[Knot]:
    """An edge's knots in one shot, where a crop of `size` of `whole` pixels has room to move."""
    room = (whole - size) // 2 * 2
    if not best:
        return [Knot(time, even(room / 2)) for time in span]
    wanted = [(time, min(max(place, 0.0), float(room))) for time, place in best]
    zone = min(_ZONE * size, max(_LEAST_ZONE * size, (size - head) / 2))
    return planned(wanted, *span, size, zone)
