"""Crops of whole videos: analysed, planned, and rendered by both ffmpegs."""

from collections.abc import Callable
from math import sin
from pathlib import Path

import numpy as np
import pytest

from clipflow.domain.errors import MediaRefusedError, NotInstalledError
from clipflow.domain.layouts import Aspect, Layout
from clipflow.reframe.analysis import Film, analyze
from clipflow.reframe.crop import HARDEST, CropPath
from clipflow.reframe.director import plan_frames
from clipflow.reframe.faces import FaceDetector
from tests.clipflow.reframe.films import FACE, FFMPEGS, Shown, faces_in, film, rendered

UPRIGHT, WIDE = Layout.CROP, Layout.STACK
# Characters that have a meaning in a shell, in a filter graph or in an expression.
AWKWARD = "it's [a], b;c:d=%d \\e.mp4"
both = pytest.mark.parametrize("ffmpeg", FFMPEGS, ids=["path", "pypi"])


def crop_path(film: Film, layout: Layout, face_model: Path | None = None) -> CropPath:
    """The crop of a video for one layout and a transcript without words."""
    [section] = plan_frames(film, layout, Aspect.TALL, [], face_model).sections
    return section.crops[0]


def shot(seconds: float, place: Callable[[float], tuple[float, float] | None]) -> list[Shown]:
    return [Shown(n / 30, face=place(n / 30)) for n in range(round(seconds * 30))]


def walk(time: float) -> tuple[float, float]:
    """A face that rests for two seconds, moves from left to right in six, and rests again."""
    return 100 + 440 * min(max((time - 2) / 6, 0), 1), 170


@pytest.mark.slow
@both
def test_a_walking_face_stays_in_a_crop_that_moves_smoothly(tmp_path: Path, ffmpeg: str) -> None:
    shown = shot(10, walk)
    video = film(tmp_path / AWKWARD, shown)
    path = crop_path(Film(video), UPRIGHT)
    assert (path.width, path.height) == (202, 360)
    found = faces_in(rendered(video, path, ffmpeg))
    assert len(found) == len(shown)
    assert sum(place is not None for place in found) >= 0.98 * len(shown)
    lefts = [
        frame.face[0] - FACE[2] / 2 - place[0] if frame.face and place else np.nan
        for frame, place in zip(shown, found, strict=True)
    ]
    assert np.nanmax(np.abs(lefts - np.array([path.at(frame.time)[0] for frame in shown]))) <= 1.5
    # The acceleration over a fifth of a second. Its three positions are rounded to 2 px and found
    # to 1 px, which adds at most (2 · 1.5 + 3) px / (0.2 s)².
    step = 6
    edge = np.array(lefts)
    change = (edge[2 * step :] - 2 * edge[step:-step] + edge[: -2 * step]) / (step / 30) ** 2
    assert np.nanmax(np.abs(change)) <= HARDEST * path.width + 6 / (step / 30) ** 2
    assert len({path.at(time)[0] for time in (0.0, 0.5, 1.0)}) == 1


@pytest.mark.slow
@both
def test_the_crop_jumps_on_the_frame_on_which_the_picture_cuts(tmp_path: Path, ffmpeg: str) -> None:
    # The times of frames are irregular, and those of the segment do not begin at zero.
    times = np.cumsum([0.02 + 0.03 * (n % 7 == 3) + 0.011 * (n % 3) for n in range(160)])
    cut = 83
    shown = [
        Shown(float(time), *((0, (110, 150)) if n < cut else (1, (520, 190))))
        for n, time in enumerate(times)
    ]
    video = film(tmp_path / "two.mp4", shown)
    path = crop_path(Film(video), UPRIGHT)
    for options, given in [([], {}), (["-copyts"], {"itsoffset": 5})]:
        found = faces_in(rendered(video, path, ffmpeg, options, **given))
        assert len(found) == len(shown)
        assert len(set(found[:cut])) == len(set(found[cut:])) == 1
        assert None not in found
        # Both faces are centred, as far as the border of the picture allows.
        assert all(abs(place[0] - (202 - 76) / 2) < 8 for place in found if place)


def test_the_crop_is_centred_in_a_shot_without_a_face(tmp_path: Path) -> None:
    faces = [None] * 60 + [(520, 190)] * 60 + [None] * 60
    shown = [Shown(n / 30, n // 60, face) for n, face in enumerate(faces)]
    path = crop_path(Film(film(tmp_path / "some.mp4", shown)), UPRIGHT)
    lefts = [path.at(frame.time)[0] for frame in shown]
    assert set(lefts[:60] + lefts[120:]) == {220}
    assert len(set(lefts[60:120])) == 1
    assert lefts[60] == pytest.approx(520 - 101, abs=8)


@pytest.mark.slow
def test_a_face_that_sways_does_not_move_the_crop(tmp_path: Path) -> None:
    swaying = shot(6, lambda time: (400 + 35 * sin(4 * time) + 4 * sin(40 * time), 170))
    path = crop_path(Film(film(tmp_path / "sway.mp4", swaying)), UPRIGHT)
    assert len({path.at(n / 30) for n in range(180)}) == 1
    assert abs(path.at(0)[0] + 101 - 400) < 25


@pytest.mark.slow
@both
def test_a_portrait_is_followed_up_and_down(tmp_path: Path, ffmpeg: str) -> None:
    sinking = shot(8, lambda time: (180, 130 + 380 * min(max((time - 2) / 4, 0), 1)))
    video = film(tmp_path / "tall.mp4", sinking, size=(360, 640))
    path = crop_path(Film(video), WIDE)
    assert (path.width, path.height) == (360, 320)
    found = faces_in(rendered(video, path, ffmpeg))
    assert sum(place is not None for place in found) >= 0.98 * len(sinking)
    # At rest, the eyes are above the middle.
    assert path.at(0)[1] + 128 == pytest.approx(130, abs=12)


@pytest.mark.slow
def test_the_larger_of_two_faces_is_followed_to_the_end(tmp_path: Path) -> None:
    pair = [Shown(n / 30, 0, (100, 180), 50, ((480, 180, 90),)) for n in range(150)]
    video = film(tmp_path / "pair.mp4", pair)
    path = crop_path(Film(video), UPRIGHT)
    assert {abs(path.at(n / 30)[0] + 101 - 480) < 20 for n in range(150)} == {True}
    assert len({path.at(n / 30) for n in range(150)}) == 1


def test_the_error_for_an_unreadable_video_or_model_names_it(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(MediaRefusedError, match=r"broken\.mp4 cannot be read"):
        crop_path(Film(broken), UPRIGHT)
    with pytest.raises(NotInstalledError, match="CLIPFLOW_FACE_MODEL"):
        crop_path(Film(broken), UPRIGHT, face_model=broken)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"preset": "veryfast", "bf": "3", "sc_threshold": "0"}])
def test_cuts_are_found_to_the_frame_and_flashes_are_not_cuts(
    tmp_path: Path, options: dict[str, str]
) -> None:
    scenes = [0] * 3 + [1] * 40 + [2] * 2 + [1] * 40 + [3] * 30 + [4]
    shown = [Shown(n / 30, scene) for n, scene in enumerate(scenes)]
    video = film(tmp_path / "cuts.mp4", shown, options=options)
    shots = analyze(Film(video), FaceDetector()).shots
    assert [round(start * 30 + 0.5) for start, _ in shots[1:]] == [3, 85, 115]


def test_a_small_face_that_walks_is_found_in_every_sample(tmp_path: Path) -> None:
    shown = [Shown(n / 30, 0, (300 + 5 * n, 380), 46) for n in range(90)]
    video = film(tmp_path / "stage.mp4", shown, (1280, 720))
    samples = analyze(Film(video), FaceDetector()).samples
    found = [sample for sample in samples if sample.faces]
    assert len(found) >= 0.9 * len(samples)
    for sample in found:
        assert len(sample.faces) == 1
        assert abs(sample.faces[0].x - (300 + 150 * sample.time)) < 12
