"""Slides, screens and photographs: what is shown is more than a face."""

from math import sin

import cv2
import numpy as np
import pytest

from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.transcript import Word
from clipflow.reframe.analysis import Analysis, FaceSample
from clipflow.reframe.crop import FramePlan
from clipflow.reframe.director import direct
from clipflow.reframe.faces import FaceDetector, Pixels
from clipflow.reframe.text import Still
from demo.make_two_shot import half

SIZE, RATE, SECONDS = (640, 360), 5, 3
WORDS = [Word(text="word", start=n / 2 + 0.1, end=n / 2 + 0.4) for n in range(2 * SECONDS)]


def slide() -> Pixels:
    found = page()
    for row in range(12):
        text = "revenue grows with new customers in every region"
        cv2.putText(
            found, text, (10, 40 + 26 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 30, 1, cv2.LINE_AA
        )
    return found


def with_lines(ground: Pixels, size: float, *lines: tuple[str, int]) -> Pixels:
    picture = ground.copy()
    for text, y in lines:
        cv2.putText(
            picture, text, (20, y), cv2.FONT_HERSHEY_SIMPLEX, size, (30,) * 3, 2, cv2.LINE_AA
        )
    return picture


def page() -> Pixels:
    return np.full((SIZE[1], SIZE[0], 3), 245, np.uint8)


def room() -> Pixels:
    patches = np.random.default_rng(3).integers(40, 200, (5, 8, 3), np.uint8)
    return np.asarray(cv2.resize(patches, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def with_face(ground: Pixels, left: int, time: float, speaks: bool) -> Pixels:
    opening, moment = (abs(sin(9 * time)), time) if speaks else (0.0, 0.0)
    face = cv2.resize(half("host", opening, moment), (160, 180), interpolation=cv2.INTER_AREA)
    picture = ground.copy()
    picture[90:270, left : left + 160] = face
    return picture


def planned(
    ground: Pixels,
    *lefts: int,
    speaks: bool = True,
    layout: Layout = Layout.AUTO,
    aspect: Aspect = Aspect.TALL,
    noise: float = 0.0,
) -> FramePlan:
    """The plan of a short with a face at each place before `ground`, with noise as a camera's."""
    detector, samples, stills = FaceDetector(), [], []
    random = np.random.default_rng(5)
    for n in range(RATE * SECONDS):
        grain = random.normal(0, noise, ground.shape) if noise else 0
        picture = np.clip(ground + grain, 0, 255).astype(np.uint8)
        for left in lefts:
            picture = with_face(picture, left, n / RATE, speaks)
        samples.append(FaceSample(n / RATE, tuple(detector.detect(picture))))
        if n % RATE == 0:
            stills.append(Still(n / RATE, np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))))
    assert all(len(sample.faces) == len(lefts) for sample in samples)
    shots = [(0.0, samples[-1].time)]
    return direct(Analysis(*SIZE, samples, shots, stills), layout, aspect, WORDS)


def layouts(ground: Pixels, *lefts: int, speaks: bool = True, noise: float = 0.0) -> list[Layout]:
    return [part.layout for part in planned(ground, *lefts, speaks=speaks, noise=noise).sections]


@pytest.mark.parametrize("left", [10, 240, 470])
def test_a_presenter_before_a_slide_is_shown_with_all_of_the_slide(left: int) -> None:
    assert layouts(slide(), left) == [Layout.SCREEN]
    assert layouts(room(), left) == [Layout.CROP]


@pytest.mark.parametrize("aspect", list(Aspect))
@pytest.mark.parametrize("layout", [Layout.CROP, Layout.STACK])
def test_a_crop_on_a_presenter_does_not_cut_through_text(layout: Layout, aspect: Aspect) -> None:
    [section] = planned(slide(), 470, layout=layout, aspect=aspect).sections
    [crop] = section.crops
    left, _ = crop.at(1)
    # The text ends where the presenter's picture begins, or all of the slide is shown.
    assert left >= 420 or crop.width >= 0.95 * SIZE[0]


def test_a_slide_without_a_person_is_not_cropped() -> None:
    assert [s.layout for s in planned(slide(), layout=Layout.CROP).sections] == [Layout.FIT]
    assert [s.layout for s in planned(room(), layout=Layout.CROP).sections] == [Layout.CROP]


def test_a_slide_with_little_text_is_shown_as_a_whole() -> None:
    title = with_lines(page(), 1.3, ("Results of 2026", 70))
    assert layouts(title, 470) == [Layout.SCREEN]
    assert layouts(with_lines(title, 0.6, ("one", 120), ("two", 160)), 470) == [Layout.SCREEN]


def test_lines_of_text_on_a_gradient_are_a_slide_and_signs_in_a_room_are_not() -> None:
    across = np.linspace(90, 235, SIZE[0]).astype(np.uint8)
    gradient = np.repeat(np.tile(across, (SIZE[1], 1))[:, :, None], 3, axis=2)
    lines = [("Quarterly results of 2026", 60), ("what grew and what did not", 100)]
    assert layouts(with_lines(gradient, 1.2, *lines), 470) == [Layout.SCREEN]
    # A sign and the number of a door.
    assert layouts(with_lines(room(), 0.8, ("EXIT", 40), ("12", 90)), 240) == [Layout.CROP]


def test_a_title_on_a_photograph_is_shown_as_a_whole_and_a_cameras_picture_is_cropped() -> None:
    # A title beside the presenter, of whom a crop would show half of it.
    title = with_lines(room(), 1.3, ("Questions from the", 50), ("audience", 330))
    assert layouts(title, 240) == [Layout.SCREEN]
    assert layouts(title, 240, noise=2.0) == [Layout.CROP]


def test_a_banner_below_a_person_does_not_make_a_screen_of_a_room() -> None:
    banner = room()
    banner[255:] = 235
    text = "minister resigns after the vote in parliament and in the senate"
    lines = [(text, y) for y in range(270, 360, 26)]
    assert layouts(with_lines(banner, 0.8, *lines), 240) == [Layout.CROP]


def test_two_who_speak_at_once_before_a_slide_are_shown_with_it() -> None:
    assert layouts(slide(), 10, 470) == [Layout.FIT]


@pytest.mark.parametrize("lefts", [(240,), (10, 470)])
def test_photographs_are_shown_with_what_is_around_them(lefts: tuple[int, ...]) -> None:
    assert layouts(slide(), *lefts, speaks=False) == [Layout.FIT]
    assert layouts(room(), *lefts, speaks=False) == [Layout.FIT]
