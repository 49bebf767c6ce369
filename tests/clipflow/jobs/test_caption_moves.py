"""Captions move to another line where the picture changes and they would cover a mouth."""

from fractions import Fraction

import pysubs2
import pytest

from clipflow.captions.drawing import captions
from clipflow.domain.caption_styles import packaged_style
from clipflow.domain.layouts import Layout
from clipflow.domain.safe_zones import CAPTIONS_HALF
from clipflow.domain.shorts import Framing
from clipflow.domain.transcript import Word
from clipflow.jobs.looks import caption_moves
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


@pytest.mark.parametrize("name", ["karaoke", "plain"])
def test_captions_that_cover_no_mouth_do_not_move(name: str) -> None:
    assert caption_moves(plan(500, 900, 500), packaged_style(name), LINE, SIZE) == []
