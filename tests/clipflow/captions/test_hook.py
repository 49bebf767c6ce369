"""The hook, a title over a short's first seconds: complete, in the safe area, over no face."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from clipflow.captions.groups import clean
from clipflow.captions.hook import PlacedHook, placed_hook
from clipflow.domain.layouts import Aspect
from clipflow.domain.safe_zones import Box, safe_box
from tests.clipflow.captions.drawing import render_captions

TEXTS = [
    "Nobody tells you this about building alone",
    "W" * 200,
    "مرحبا بكم في هذا البرنامج الجديد، اليوم 2024 سنتحدث عن التاريخ",
    "人工智能的未来发展方向以及它对我们生活的影响 🎉",
    r"{\pos(0,0)}{\an7} \N \h \ <b>now</b> %{pts} ':,;[a]",
]
TALL = Aspect.TALL.size


def placed(
    text: str,
    size: tuple[int, int] = TALL,
    faces: Iterable[tuple[float, Box]] = (),
    taken: Sequence[Box] = (),
) -> PlacedHook:
    found = placed_hook(text, size, faces, taken)
    assert found
    return found


def rows_of(hook: PlacedHook) -> Box:
    """The boxes of all rows in a short of 9:16."""
    across, down = hook.hook.half_width, hook.hook.half_height
    return Box(540 - across, hook.centre - down, 540 + across, hook.centre + down)


@pytest.mark.parametrize("aspect", list(Aspect))
@pytest.mark.parametrize("text", TEXTS)
def test_the_rows_contain_the_whole_text_in_every_aspect(text: str, aspect: Aspect) -> None:
    hook, box = placed(text, aspect.size), safe_box(aspect.size)
    shown = "".join(token.text for row in hook.hook.rows for token in row)
    assert shown == clean(text).replace(" ", "")
    half = hook.hook.half_height
    assert box.top <= hook.centre - half < hook.centre + half <= box.bottom


def test_a_short_text_is_large_and_a_long_one_smaller() -> None:
    short, long = placed("One rule").hook, placed("One rule " * 12).hook
    assert (len(short.rows), short.size) == (1, 72) and len(long.rows) <= 4 and long.size < 72
    assert placed_hook(" \u200b", TALL) is None


def test_a_hook_covers_no_face_of_its_seconds_and_no_other_overlay() -> None:
    high = placed("Two words")
    assert rows_of(high).top == safe_box(TALL).top
    faces = [(0.2, Box(300, 300, 800, 700)), (2.8, Box(300, 340, 800, 800))]
    later = (3.5, Box(300, 900, 800, 1400))
    lower = placed("Two words", faces=[*faces, later])
    assert 800 <= rows_of(lower).top < 900 and lower.hook.size == high.hook.size
    captions = Box(0, 250, 1080, 700)
    below = placed("Two words", taken=[captions])
    assert rows_of(below).top > captions.bottom
    assert placed_hook("Two words", TALL, [], [Box(0, 0, 1080, 1920)]) is None


TWO_ROWS = "How a spacesuit is tested"


def test_a_hook_becomes_smaller_to_stay_above_a_large_face() -> None:
    assert len(placed(TWO_ROWS).hook.rows) == 2
    face = Box(150, 400, 930, 1300)
    hook = placed(TWO_ROWS, faces=[(1.0, face)], taken=[Box(0, 1240, 1080, 1440)])
    assert hook.hook.size < 72
    assert rows_of(hook).bottom <= face.top


def test_a_hook_covers_a_forehead_rather_than_eyes_or_a_mouth() -> None:
    # Nothing of the safe area is free.
    face = Box(100, 200, 980, 1500)
    hook = placed(TWO_ROWS, faces=[(1.0, face)], taken=[Box(0, 1240, 1080, 1440)])
    eyes = face.top + 0.2 * face.height
    assert rows_of(hook).bottom <= eyes


def test_a_hook_may_be_beside_faces() -> None:
    size = Aspect.WIDE.size
    faces = [(1.0, Box(100, 50, 500, 600)), (1.0, Box(1450, 40, 1800, 560))]
    hook = placed("Two words", size, faces)
    assert hook == placed("Two words", size)


@pytest.mark.slow
def test_a_hook_is_visible_for_three_seconds_within_the_safe_area(tmp_path: Path) -> None:
    times = [Fraction(n, 25) for n in (0, 3, 30, 74, 75, 76, 90)]
    for text in TEXTS:
        frames = render_captions([], times, tmp_path, hook=placed(text))
        assert [bool(frame.ink.any()) for frame in frames[1:]] == [True] * 3 + [False] * 3
        box, safe = frames[2].box, safe_box(TALL)
        assert safe.left <= box[0] and box[2] <= safe.right, text
        assert safe.top <= box[1] and box[3] <= safe.bottom, text
        # Rows of dark text on boxes that hold all of it.
        left, top, right, bottom = box
        assert np.count_nonzero(frames[2].ink[top:bottom, left:right]) > 0.5 * (bottom - top) * 100
