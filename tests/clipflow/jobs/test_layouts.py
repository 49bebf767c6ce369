"""Layouts in rendered shorts of generated videos, verified by detecting faces in every frame."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import sin
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.transcript import Word
from clipflow.reframe.faces import Face, FaceDetector, Pixels
from tests.clipflow.jobs.studio import Studio
from tests.clipflow.reframe.films import Shown, film
from tests.made_media import frame_times

pytestmark = pytest.mark.slow

WIDE = (1280, 720)
# Pixels of a short per pixel of the reduced picture in which faces are detected.
REDUCED = 3


def words(start: float, end: float) -> list[Word]:
    """Two words a second, without a pause."""
    return [
        Word(text="spoken", start=start + n / 2, end=start + n / 2 + 0.45)
        for n in range(round(2 * (end - start)))
    ]


def sway(place: tuple[float, float], time: float) -> tuple[float, float]:
    """The place of a head that moves a little, unlike one in a photograph."""
    return place[0] + 6 * sin(5 * time), place[1] + 3 * sin(7 * time)


def people(time: float, scene: int, *places: tuple[float, float], side: int = 150) -> Shown:
    faces = [(*sway(place, time + 0.7 * n), side) for n, place in enumerate(places)]
    if not faces:
        return Shown(time, scene)
    return Shown(time, scene, faces[0][:2], side, tuple(faces[1:]))


def pictures(short: Path) -> list[Pixels]:
    """Every frame in BGR, reduced by `REDUCED`."""
    with av.open(str(short)) as container:
        return [
            np.asarray(
                frame.reformat(
                    frame.width // REDUCED, frame.height // REDUCED, "bgr24"
                ).to_ndarray(),
                np.uint8,
            )
            for frame in container.decode(video=0)
        ]


def whole_faces(picture: Pixels, detector: FaceDetector) -> list[Face]:
    """The faces that are completely in the picture, from the top, in pixels of the short."""
    height, width = picture.shape[:2]
    found = [
        face.scaled(REDUCED)
        for face in detector.detect(picture)
        if face.size / 2 <= face.x <= width - face.size / 2
        and face.size / 2 <= face.y <= height - face.size / 2
    ]
    return sorted(found, key=lambda face: face.y)


def counts(shown: Sequence[Pixels]) -> list[int]:
    detector = FaceDetector()
    return [len(whole_faces(picture, detector)) for picture in shown]


def test_several_layouts_in_one_pass_keep_every_frame_at_its_own_time(
    studio: Studio, tmp_path: Path
) -> None:
    # Frames at irregular times.
    gaps = [0.03 + 0.02 * (n % 7 == 3) + 0.011 * (n % 3) for n in range(170)]
    times = np.cumsum(gaps) - gaps[0]
    first, second = 55, 110
    shown = [
        people(time, 0, (420, 330))
        if n < first
        else people(time, 1, (330, 330), (930, 350))
        if n < second
        else people(time, 2)
        for n, time in enumerate(map(float, times))
    ]
    source = film(tmp_path / "source.mp4", shown, WIDE)
    studio.put(source, words(0, float(times[second])))
    short = studio.make("0", "7", caption_style="none")
    assert studio.framing
    layouts = [span.layout for span in studio.framing.layouts]
    assert layouts == [Layout.CROP, Layout.SPLIT, Layout.FIT]
    wanted = [time for time in frame_times(source) if time < 7]
    got, all_pictures = frame_times(short), pictures(short)
    # A frame that is shown for long is repeated; the frames of the source keep their own times.
    at = [min(range(len(got)), key=lambda n: abs(got[n] - time)) for time in wanted]
    moved = [abs(got[n] - time) for n, time in zip(at, wanted, strict=True)]
    assert max(moved) < Fraction(1, 10_000)
    assert at == sorted(set(at)) and at[0] == 0
    decoded = [all_pictures[n] for n in at]
    changes = [np.abs(b.astype(int) - a).mean() for a, b in pairwise(decoded)]
    assert set(np.argsort(changes)[-2:] + 1) == {first, second}
    assert counts(decoded) == [1] * first + [2] * (second - first) + [0] * (len(at) - second)
    for n, (begins, ends) in zip(at, pairwise([*at, len(got)]), strict=True):
        assert counts(all_pictures[begins:ends]) == counts([all_pictures[n]]) * (ends - begins)


def test_a_grid_shows_four_people_in_a_quarter_each(studio: Studio, tmp_path: Path) -> None:
    places = [(180, 300), (490, 330), (800, 310), (1110, 330)]
    studio.put(
        film(tmp_path / "four.mp4", [people(n / 30, 0, *places) for n in range(90)], WIDE),
        words(0, 3),
    )
    short = studio.make("0", "3")
    assert studio.framing
    assert [span.layout for span in studio.framing.layouts] == [Layout.GRID]
    assert (studio.framing.speaker_in_frame or 0) >= 0.98
    detector = FaceDetector()
    for picture in pictures(short)[::10]:
        faces = whole_faces(picture, detector)
        quarters = {(face.x > 540, face.y > 960) for face in faces}
        assert len(faces) == len(quarters) == 4
        # Captions are between the rows, and no mouth is under them.
        assert all(abs((face.mouth or (0, 0))[1] - 960) > 110 for face in faces)


def test_a_screen_is_shown_whole_above_the_face_in_its_corner(
    studio: Studio, tmp_path: Path
) -> None:
    shown = [people(n / 30, 0, (1150, 610), side=80) for n in range(90)]
    studio.put(film(tmp_path / "screen.mp4", shown, WIDE), words(0, 3))
    short = studio.make("0", "3", caption_style="none")
    assert studio.framing
    assert [span.layout for span in studio.framing.layouts] == [Layout.SCREEN]
    detector = FaceDetector()
    for picture in pictures(short)[::15]:
        faces = whole_faces(picture, detector)
        assert faces[-1].y > 0.45 * 1920
        # The face is enlarged to the size of a talking head.
        assert faces[-1].size > 200


@pytest.mark.parametrize("aspect", list(Aspect))
def test_a_talking_head_is_whole_in_every_aspect_and_no_caption_is_on_the_mouth(
    aspect: Aspect, studio: Studio, tmp_path: Path
) -> None:
    shown = [people(n / 30, -1, (500 + 2 * n, 330), side=260) for n in range(90)]
    studio.put(film(tmp_path / "head.mp4", shown, WIDE), words(0, 3))
    short = studio.make("0", "3", aspect=aspect)
    detector = FaceDetector()
    for picture in pictures(short)[::10]:
        assert (picture.shape[1] * REDUCED, picture.shape[0] * REDUCED) == aspect.size
        [face] = whole_faces(picture, detector)
        assert face.mouth
        highlighted = highlighted_rows(picture)
        assert len(highlighted)
        assert (
            highlighted.min() > face.mouth[1] + 0.1 * face.size
            or highlighted.max() < face.mouth[1] - 0.1 * face.size
        )


def highlighted_rows(picture: Pixels) -> NDArray[np.intp]:
    """The rows of the short in which a spoken word is highlighted, in pixels."""
    blue, green, red = (picture[..., channel].astype(int) for channel in range(3))
    highlighted = (blue < 70) & (green > 160) & (red > 200)
    return REDUCED * np.flatnonzero(highlighted.any(axis=1))


def test_the_share_of_frames_with_the_whole_face_matches_the_rendered_frames(
    studio: Studio, tmp_path: Path
) -> None:
    # The face rests, and then moves so far and so fast that the crop cannot follow it.
    shown = [
        people(n / 30, 0, (640 + (200 * sin(3 * (n / 30 - 3)) if n >= 90 else 0), 330))
        for n in range(180)
    ]
    studio.put(film(tmp_path / "swing.mp4", shown, WIDE), words(0, 6))
    short = studio.make("0", "6", layout="crop", caption_style="none")
    assert studio.framing
    assert studio.framing.speaker_in_frame is not None
    seen = counts(pictures(short))
    share = sum(count == 1 for count in seen) / len(seen)
    assert 0.5 < share < 0.9
    assert abs(studio.framing.speaker_in_frame - share) < 0.04
    assert studio.framing.warning
