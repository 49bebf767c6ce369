"""Captions move to another line where the picture changes and they would cover a mouth."""

import re
from fractions import Fraction

import pysubs2
import pytest

from clipflow.captions.drawing import captions, half_height
from clipflow.domain.caption_styles import STYLE_NAMES, Position, packaged_style
from clipflow.domain.layouts import Layout
from clipflow.domain.safe_zones import CAPTIONS_HALF, clear_line
from clipflow.domain.shorts import Framing
from clipflow.domain.transcript import Word
from clipflow.jobs.looks import caption_moves, captions_line
from clipflow.reframe.crop import FramePlan, Section

SIZE = (1080, 1920)
LINE = 1248


def plan(*mouths: int) -> FramePlan:
    """A plan of sections of two seconds, each with a mouth at this height."""
    sections = tuple(Section(2.0 * n, 2.0 * n + 2, Layout.FIT, ()) for n in range(len(mouths)))
    lips = tuple((2.0 * n + 1, mouth) for n, mouth in enumerate(mouths))
    return FramePlan(sections, Framing(), LINE, lips)


def test_captions_leave_their_line_only_while_a_mouth_is_there() -> None:
    style = packaged_style("karaoke")
    mouths = plan(500, LINE, 500)
    moves = caption_moves(mouths, style, LINE, SIZE)
    assert [time for time, _ in moves] == [2.0, 4.0]
    words = [Word(text="word", start=n + 0.1, end=n + 0.3) for n in range(6)]
    times = [Fraction(n, 25) for n in range(150)]
    text = captions(words, times, style, LINE, SIZE, moves=moves)
    heights = {
        event.start // 1000: float(event.text.split(r"\pos(")[1].split(")")[0].split(",")[1])
        for event in pysubs2.SSAFile.from_string(text)
    }
    assert set(heights) == set(range(6))
    assert [heights[second] for second in (0, 1, 4, 5)] == [LINE] * 4
    assert all(abs(heights[second] - LINE) >= CAPTIONS_HALF for second in (2, 3))


@pytest.mark.parametrize("name", STYLE_NAMES)
def test_a_caption_that_is_shown_when_the_picture_changes_moves_with_it(name: str) -> None:
    style = packaged_style(name)
    if style is None or style.position is not Position.AUTO:
        pytest.skip("this style has a line of its own, or no captions")
    centre = captions_line(plan(500, LINE), style, SIZE)
    moves = caption_moves(plan(500, centre), style, centre, SIZE)
    [(_, moved)] = moves
    words = [Word(text="word", start=0.3 * n, end=0.3 * n + 0.25) for n in range(13)]
    times = [Fraction(n, 25) for n in range(100)]
    shown = pysubs2.SSAFile.from_string(captions(words, times, style, centre, SIZE, moves=moves))
    for event in shown:
        # The 50th frame is the first of the second section; times lie between two frames.
        assert event.end <= 1990 or event.start >= 1960, event
    # Captions are visible on both sides of the change, before it above and after it elsewhere.
    before = [_height(event) for event in shown if event.end == 1980]
    after = [_height(event) for event in shown if event.start == 1980]
    half = max(half_height(style), CAPTIONS_HALF)
    assert before and all(abs(height - centre) < half for height in before)
    assert after and all(abs(height - moved) < half for height in after)


def test_a_free_line_between_the_usual_ones_is_found() -> None:
    """Lips at 260 to 320 of a picture of 4:5, and a line that the usual steps do not try."""
    lips = [*range(150, 560, 20), *range(800, 1300, 20)]
    line = clear_line(lips, 182, 114, (1080, 1350))
    assert not [y for y in lips if abs(y - line) < 114]


def _height(event: pysubs2.SSAEvent) -> float:
    """The vertical place of text, or the middle of the box that is drawn."""
    _, y = event.text.split(r"\pos(")[1].split(")")[0].split(",")
    if r"\p1" not in event.text:
        return float(y)
    numbers = [float(n) for n in re.findall(r"-?[\d.]+", event.text.split("}")[1])]
    return float(y) + (min(numbers[1::2]) + max(numbers[1::2])) / 2


@pytest.mark.parametrize("name", ["karaoke", "plain"])
def test_captions_that_cover_no_mouth_do_not_move(name: str) -> None:
    assert caption_moves(plan(500, 900, 500), packaged_style(name), LINE, SIZE) == []
