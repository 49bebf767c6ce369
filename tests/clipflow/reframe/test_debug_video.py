"""The debug video of a framing: the colours of its pixels where boxes are expected."""

from math import sin
from pathlib import Path

import av
import numpy as np

from clipflow.domain.edits import Place, View
from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.transcript import Word
from clipflow.reframe.analysis import Film
from clipflow.reframe.debug_video import CROP, SPEAKER, write_debug_video
from clipflow.reframe.faces import Pixels
from tests.clipflow.reframe.films import FACE, Shown, film


def is_near(picture: Pixels, x: float, y: float, color: tuple[int, int, int]) -> bool:
    """Whether a pixel near this position has the colour, within the precision of H.264."""
    across, down = slice(round(x) - 7, round(x) + 8), slice(round(y) - 7, round(y) + 8)
    away = np.abs(picture[max(0, down.start) : down.stop, across].astype(int) - color).max(axis=2)
    return bool(away.min() < 60)


def test_a_users_view_is_drawn(tmp_path: Path) -> None:
    shown = [Shown(n / 30, -1, (400 + 3 * sin(n / 5), 180)) for n in range(30)]
    source, target = film(tmp_path / "source.mp4", shown), tmp_path / "framing.mp4"
    view = View(start=0.0, end=1.0, place=Place(x=0.2, y=0.5))
    plan = write_debug_video(Film(source), target, Layout.CROP, Aspect.TALL, [], views=[view])
    [crop] = plan.sections[0].crops
    assert abs(crop.at(0.5)[0] + crop.width / 2 - 0.2 * 640) <= 2
    with av.open(str(target)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="bgr24")
    drawn = np.asarray(picture, np.uint8)
    assert is_near(drawn, crop.at(0.0)[0] + crop.width - 1, 180, CROP)


def test_the_speakers_box_and_the_crop_are_drawn_at_their_positions(tmp_path: Path) -> None:
    x, y = 400, 180
    shown = [Shown(n / 30, -1, (x + 3 * sin(n / 5), y)) for n in range(60)]
    source, target = film(tmp_path / "source.mp4", shown), tmp_path / "framing.mp4"
    words = [Word(text="word", start=0.1, end=1.8)]
    plan = write_debug_video(Film(source), target, Layout.CROP, Aspect.TALL, words)
    with av.open(str(target)) as container:
        pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert len(pictures) == len(shown)
    picture = np.asarray(pictures[30], np.uint8)
    [crop] = plan.sections[0].crops
    left, top = crop.at(1.0)
    assert is_near(picture, left, top + crop.height / 2, CROP)
    assert is_near(picture, left + crop.width - 1, top + crop.height / 2, CROP)
    # The detector's box is close to that of the face, and its sides are yellow.
    sides = picture[y].astype(int)
    yellow = np.flatnonzero(np.abs(sides - SPEAKER).max(axis=1) < 60)
    assert abs(yellow.min() - (x - FACE[2] / 2)) < 25
    assert abs(yellow.max() - (x + FACE[2] / 2)) < 25
