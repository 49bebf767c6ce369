"""Crop paths: their limits of speed and acceleration, and the length of their expressions."""

import subprocess
from fractions import Fraction

import ffmpeg as command
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipflow.reframe.crop import (
    FASTEST,
    HARDEST,
    CropPath,
    Knot,
    cropped,
    largest_box,
    place,
    plan_edge,
)
from tests.clipflow.reframe.films import FFMPEGS

SIZE, MAX_OFFSET = 600, 1320
steps = st.lists(st.floats(-300, 300), min_size=1, max_size=60).map(lambda walk: walk * 3)


@settings(deadline=None)
@given(steps)
def test_the_crop_keeps_its_limits_and_stays_in_the_picture(walk: list[float]) -> None:
    wanted = [
        (0.1 + 0.2 * n, float(x))
        for n, x in enumerate(np.clip(660 + np.cumsum(walk), 0, MAX_OFFSET))
    ]
    end = wanted[-1][0] + 0.1
    knots = plan_edge(wanted, 0.0, end, SIZE, 0.22 * SIZE)
    assert (knots[0].time, knots[0].speed, knots[-1].speed) == (0.0, 0.0, 0.0)
    step = 0.02
    edge = np.array([place(knots, time) for time in np.arange(0, end, step)])
    assert -1e-3 <= edge.min() <= edge.max() <= MAX_OFFSET + 1e-3
    assert np.abs(np.diff(edge, prepend=edge[0])).max() / step <= FASTEST * SIZE + 1
    if len(edge) > 2:
        assert np.abs(np.diff(edge, 2)).max() / step**2 <= HARDEST * SIZE + 1


@pytest.mark.parametrize("ffmpeg", FFMPEGS, ids=["path", "pypi"])
def test_ten_minutes_of_cuts_and_moves_fit_into_one_argument(ffmpeg: str) -> None:
    knots: list[Knot] = []
    for n in range(600):
        knots += [Knot(n, 101.0 + n), Knot(n + 0.1234567, 101.0 + n), Knot(n + 1, 1234.0 - n)]
    path = CropPath(606, 1080, tuple(knots), (Knot(0, 0),))
    picture = command.input("color=size=1920x1080:rate=10:duration=1", format="lavfi")
    output = command.output(cropped(picture["v:0"], path), "-", format="null")
    arguments = [str(argument) for argument in command.get_args(output)]
    # Linux accepts up to 131072 bytes in one argument.
    assert max(map(len, arguments)) < 131_072
    subprocess.run([ffmpeg, "-nostdin", "-v", "error", *arguments], check=True)


def test_the_box_is_the_largest_even_one() -> None:
    assert largest_box(1920, 1080, Fraction(9, 16)) == (608, 1080)
    assert largest_box(853, 481, Fraction(9, 16)) == (270, 480)
    assert largest_box(720, 1280, Fraction(9, 8)) == (720, 640)
    assert largest_box(608, 1080, Fraction(9, 16)) == (608, 1080)
