"""The best frame of a short: sharp, well exposed, outside transitions, with or without a face."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from clipflow.reframe.best_frame import best_time

PORTRAIT = Path(__file__).parents[3] / "demo" / "portrait.jpg"
RATE, SIZE = 10, (360, 640)


def film(path: Path, pictures: list[np.ndarray]) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, SIZE)
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def plain(brightness: int) -> np.ndarray:
    return np.full((SIZE[1], SIZE[0], 3), brightness, np.uint8)


def pattern() -> np.ndarray:
    return np.random.default_rng(7).integers(60, 200, (SIZE[1], SIZE[0], 3), np.uint8)


@pytest.fixture
def portrait() -> np.ndarray:
    face = cv2.imread(str(PORTRAIT))
    assert face is not None
    canvas = plain(120)
    side = SIZE[0]
    scale = side / face.shape[1]
    shown = cv2.resize(face, (side, min(SIZE[1], int(face.shape[0] * scale))))
    canvas[: shown.shape[0]] = shown
    return canvas


def test_the_sharp_face_is_chosen(tmp_path: Path, portrait: np.ndarray) -> None:
    blurred = cv2.GaussianBlur(portrait, (0, 0), 5)
    dark = (portrait * 0.1).astype(np.uint8)
    pictures = [blurred] * 15 + [pattern()] * 10 + [dark] * 10 + [portrait] * 15 + [blurred] * 15
    assert 3.5 <= best_time(film(tmp_path / "a.mp4", pictures), None) < 5


def test_no_frame_of_an_intro_or_outro_is_chosen(tmp_path: Path, portrait: np.ndarray) -> None:
    blurred = cv2.GaussianBlur(portrait, (0, 0), 5)
    path = film(tmp_path / "c.mp4", [portrait] * 15 + [blurred] * 15 + [portrait] * 15)
    assert not 1.5 <= best_time(path, None) < 3
    assert 1.5 <= best_time(path, None, intro=1.5, outro=1.5) < 3


def test_without_a_face_the_best_frame_is_outside_transitions(tmp_path: Path) -> None:
    one, other = cv2.GaussianBlur(pattern(), (0, 0), 2), plain(5)
    fade = [cv2.addWeighted(other, 1 - n / 10, one, n / 10, 0) for n in range(10)]
    pictures = [other] * 10 + fade + [one] * 15 + fade[::-1] + [other] * 10
    assert 2 <= best_time(film(tmp_path / "b.mp4", pictures), None) < 3.5
