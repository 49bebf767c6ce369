"""The hook, a title over a short's first seconds: complete, in the safe area, over no mouth."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from clipflow.captions.groups import clean
from clipflow.captions.hook import PlacedHook, fit_hook, place_hook, placed_hook
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


@pytest.mark.parametrize("aspect", list(Aspect))
@pytest.mark.parametrize("text", TEXTS)
def test_the_rows_contain_the_whole_text_in_every_aspect(text: str, aspect: Aspect) -> None:
    hook = fit_hook(text, aspect.size)
    assert hook
    shown = "".join(token.text for row in hook.rows for token in row)
    assert shown == clean(text).replace(" ", "")
    centre = place_hook(hook, aspect.size, [])
    box = safe_box(aspect.size)
    assert centre and box.top <= centre - hook.half_height < centre + hook.half_height <= box.bottom


def test_a_short_text_is_large_and_a_long_one_smaller() -> None:
    short, long = fit_hook("One rule", TALL), fit_hook("One rule " * 12, TALL)
    assert short and long
    assert (len(short.rows), short.size) == (1, 72) and len(long.rows) <= 4 and long.size < 72
    assert fit_hook(" \u200b", TALL) is None


def test_a_hook_covers_no_mouth_and_no_other_overlay() -> None:
    hook = fit_hook("Two words", TALL)
    assert hook
    high = place_hook(hook, TALL, [])
    assert high and high - hook.half_height == safe_box(TALL).top
    lips = [(0.2, high), (2.8, high + 40), (3.5, high + 300)]
    lower = place_hook(hook, TALL, lips)
    assert lower and all(abs(y - lower) >= hook.half_height for time, y in lips if time < 3)
    captions = Box(0, 250, 1080, 700)
    below = place_hook(hook, TALL, [], [captions])
    assert below and below - hook.half_height > captions.bottom
    assert placed_hook("Two words", TALL, [], [Box(0, 0, 1080, 1920)]) is None


@pytest.mark.slow
def test_a_hook_is_visible_for_three_seconds_within_the_safe_area(tmp_path: Path) -> None:
    times = [Fraction(n, 25) for n in (0, 3, 30, 74, 75, 76, 90)]
    for text in TEXTS:
        hook = fit_hook(text, TALL)
        assert hook
        centre = place_hook(hook, TALL, [])
        assert centre
        frames = render_captions([], times, tmp_path, hook=PlacedHook(hook, centre))
        assert [bool(frame.ink.any()) for frame in frames[1:]] == [True] * 3 + [False] * 3
        box, safe = frames[2].box, safe_box(TALL)
        assert safe.left <= box[0] and box[2] <= safe.right, text
        assert safe.top <= box[1] and box[3] <= safe.bottom, text
        # Rows of dark text on boxes that hold all of it.
        left, top, right, bottom = box
        assert np.count_nonzero(frames[2].ink[top:bottom, left:right]) > 0.5 * (bottom - top) * 100
