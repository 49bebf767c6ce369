"""The ASS file of captions: its fonts, its times, and the characters that it leaves out."""

import logging
from fractions import Fraction
from itertools import pairwise

import pysubs2
import pytest
from fontTools.ttLib import TTFont

from clipflow.captions.drawing import captions
from clipflow.captions.typefaces import FOLDER, ROW_HEIGHT
from clipflow.domain.caption_styles import packaged_style
from clipflow.domain.transcript import Word
from tests.clipflow.captions.drawing import words_of

FRAMES = [Fraction(n, 25) for n in range(100)]


def events(words: list[Word], style: str = "karaoke") -> list[pysubs2.SSAEvent]:
    return list(pysubs2.SSAFile.from_string(captions(words, FRAMES, packaged_style(style), 960)))


def test_events_follow_one_another_across_groups_and_short_pauses() -> None:
    words = [*words_of("one two three. Four five six", each=0.3), *words_of("seven eight", at=2.2)]
    found = events(words)
    assert len(found) == len(words)
    assert all(one.end == other.start for one, other in pairwise(found))
    assert (found[0].start, found[-1].end) == (0, 2980)


def test_the_screen_is_empty_in_a_long_pause() -> None:
    first, second = events([*words_of("one two"), *words_of("three four", at=2)], "plain")
    assert (first.end, second.start) == (780, 1980)


def test_a_word_after_the_last_frame_is_not_shown_and_a_longer_one_ends_after_it() -> None:
    words = [Word(text="last", start=3.9, end=9), Word(text="late", start=4.5, end=5)]
    (only,) = events(words)
    assert only.start == 3900 and only.end > 3960


@pytest.mark.parametrize("words", [[], [Word(text=" \n\u200b", start=0, end=1)]])
def test_captions_without_visible_text_have_no_event(words: list[Word]) -> None:
    assert events(words) == []
    assert events(words_of("a b"), "none") == []


def test_characters_that_no_font_has_are_left_out_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        (event,) = events([Word(text="a\U00012000b\ue000", start=0, end=1)])
    assert event.plaintext == "ab"
    assert "U+E000, U+12000" in caplog.text


def test_every_included_font_has_its_own_name_is_bold_and_has_the_same_height() -> None:
    paths = sorted(FOLDER.iterdir())
    assert len(paths) > 20
    assert sum(path.stat().st_size for path in paths) < 9_000_000
    for path in paths:
        font = TTFont(path)
        line, metrics = font["hhea"], font["OS/2"]
        assert font["name"].getDebugName(1).startswith("Clipflow "), path.name
        assert metrics.usWeightClass == 700, path.name
        heights = {line.ascent - line.descent, metrics.usWinAscent + metrics.usWinDescent}
        assert heights == {round(ROW_HEIGHT * font["head"].unitsPerEm)}, path.name
