"""Identification of two people: pictures on a wall, absences, crossings, cuts."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from clipflow.reframe.analysis import Analysis, FaceSample
from clipflow.reframe.faces import FaceDetector, Pixels
from clipflow.reframe.people import Shot, find_people
from demo.make_two_shot import SIZE, half

# Samples a second, as the analysis takes them where several faces are visible.
RATE = 8


def talking(speaker: str, time: float) -> Pixels:
    return half(speaker, abs(np.sin(9 * time)), time)


def blank() -> Pixels:
    return np.full((SIZE[1], SIZE[0] // 2, 3), 128, np.uint8)


def people(pictures: Sequence[Pixels], *cuts: float) -> list[Shot]:
    detector = FaceDetector()
    samples = [
        FaceSample(
            n / RATE, tuple(detector.detect(np.asarray(cv2.resize(picture, (480, 270)), np.uint8)))
        )
        for n, picture in enumerate(pictures)
    ]
    ends = [*cuts, (len(pictures) - 1) / RATE]
    return find_people(Analysis(480, 270, samples, list(zip([0.0, *cuts], ends, strict=True))))


def test_a_portrait_on_a_wall_is_not_a_person() -> None:
    wall = half("guest", 0.0, 0.0)
    [shot] = people([np.hstack([talking("host", n / RATE), wall]) for n in range(24)])
    assert [track.faces[0].x < 240 for track in shot.tracks] == [True]


def test_a_portrait_on_a_wall_is_not_a_person_before_a_camera_that_shakes() -> None:
    wall, noise = half("guest", 0.0, 0.0), np.random.default_rng(1)
    pictures = []
    for n in range(24):
        picture = np.hstack([talking("host", n / RATE), wall])
        shift = np.array([[1, 0, 9 * np.sin(2.1 * n)], [0, 1, 7 * np.cos(1.3 * n)]])
        shaken = cv2.warpAffine(
            picture, shift, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE
        )
        grainy = shaken + noise.normal(0, 8, shaken.shape)
        pictures.append(np.asarray(np.clip(grainy, 0, 255), np.uint8))
    [shot] = people(pictures)
    assert [track.faces[0].x < 240 for track in shot.tracks] == [True]


@pytest.mark.parametrize("seconds", [1, 2])
def test_a_person_hidden_for_a_while_keeps_one_track(seconds: int) -> None:
    away = range(8, 8 + RATE * seconds)
    pictures = [
        np.hstack([blank() if n in away else talking("host", n / RATE), talking("guest", n / 8)])
        for n in range(32)
    ]
    [shot] = people(pictures)
    assert len(shot.tracks) == 2
    assert [(track.times[0], track.times[-1]) for track in shot.tracks] == [(0.0, 31 / RATE)] * 2


def test_a_person_keeps_the_same_number_after_a_cut_to_another() -> None:
    both = [np.hstack([talking("host", n / RATE), talking("guest", n / 8)]) for n in range(16)]
    # The other camera sees one of them, in another place.
    one = [np.hstack([talking("guest", n / RATE), blank()]) for n in range(16)]
    first, second, third = people([*both, *one, *both], 1.95, 3.95)
    host, guest = (track.person for track in first.tracks)
    assert host != guest
    assert [track.person for track in second.tracks] == [guest]
    assert [track.person for track in third.tracks] == [host, guest]


def test_a_person_who_looks_different_keeps_the_number_before_the_same_camera() -> None:
    both = [np.hstack([talking("host", n / RATE), talking("guest", n / 8)]) for n in range(16)]
    # The light on the guest comes from one side only.
    width = SIZE[0] // 2
    light = np.interp(np.arange(width), [0.42 * width, 0.58 * width], [0.2, 1.3])[None, :, None]
    lit = [
        np.hstack([talking("host", n / RATE), np.clip(talking("guest", n / 8) * light, 0, 255)])
        for n in range(16)
    ]
    other = [np.hstack([blank(), talking("host", n / RATE)]) for n in range(16)]
    first, _, third = people([*both, *other, *np.asarray(lit, np.uint8)], 1.95, 3.95)
    assert [track.person for track in third.tracks] == [track.person for track in first.tracks]


def test_two_people_who_pass_each_other_are_not_swapped() -> None:
    pictures = []
    for n in range(33):
        picture = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
        for speaker, top, left in (("host", 0, 30 * n), ("guest", 330, 960 - 30 * n)):
            small = cv2.resize(talking(speaker, n / RATE), None, fx=0.5, fy=0.5)
            picture[top : top + small.shape[0], left : left + small.shape[1]] = small
        pictures.append(picture)
    [shot] = people(pictures)
    assert len(shot.tracks) == 2
    for track in shot.tracks:
        steps = np.diff([face.x for face in track.faces])
        assert (steps > 0).all() or (steps < 0).all()


@pytest.mark.parametrize("times", [(0.0, 0.2, 60.2, 60.4), (0.0, 4.0, 8.0, 12.0)])
def test_a_person_keeps_one_track_while_the_picture_stands_still(times: Sequence[float]) -> None:
    # Without a frame in between, nobody has left.
    detector = FaceDetector()
    samples = [
        FaceSample(time, tuple(detector.detect(talking("host", n / RATE))))
        for n, time in enumerate(times)
    ]
    width, height = SIZE[0] // 2, SIZE[1]
    [shot] = find_people(Analysis(width, height, samples, [(0.0, times[-1])]))
    assert [track.times for track in shot.tracks] == [list(times)]
