"""Moments stay within their bounds for any transcript and any choice."""

from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipflow.domain.shorts import Moment
from clipflow.domain.transcript import Word
from clipflow.highlights.moments import moments
from clipflow.highlights.pieces import Brief, Choice, PieceRange, Speech
from tests.clipflow.highlights.transcripts import spread

# In seconds: half of the largest overlap at which words are still separated, plus rounding.
BLUR = 0.026
# In seconds: the rounding error of a float.
EXACT = 1e-9


@st.composite
def speech(draw: st.DrawFn, unit: int, overlap: int) -> tuple[list[Word], Brief]:
    """Words in units of so many microseconds, which overlap by at most so many milliseconds."""
    gaps = st.integers(-overlap, 50) | st.just(0) | st.integers(0, 300) | st.integers(0, 6000)
    parts = st.tuples(gaps, st.integers(0, 900), st.sampled_from(["so", "so", "so", "so."]))
    words: list[Word] = []
    last = end = draw(st.integers(0, 5000)) * 1000
    for gap, length, text in draw(st.lists(parts, min_size=30, max_size=120)):
        last = start = max(last, end + gap * unit)
        end = max(end, start + length * unit)
        words.append(Word(text=text, start=start / 1e6, end=(start + length * unit) / 1e6))
    until = draw(st.none() | st.integers(0, 20_000_000).map(lambda more: (end + more) / 1e6))
    return words, Brief(draw(st.integers(1, 20)), draw(st.integers(5, 20)), until)


def picked(words: list[Word], brief: Brief, data: st.DataObject) -> list[Moment]:
    talk = Speech.of(words, brief)
    if not talk.pieces:
        return []
    piece = st.integers(0, len(talk.pieces) - 1)
    spans = st.tuples(piece, piece).map(lambda two: PieceRange(min(two), max(two)))
    liked = data.draw(st.lists(st.tuples(spans, st.integers(0, 100)), min_size=3, max_size=12))
    return moments(talk, [Choice(s, score, "", "") for s, score in liked], brief.count)


def is_inside(time: Fraction, words: list[Word], by: float) -> bool:
    return any(word.start + by < time < word.end - by for word in words)


@pytest.mark.slow
@settings(deadline=None)
@given(speech(unit=1000, overlap=0), st.data())
def test_moments_respect_length_limits_start_in_pauses_and_barely_overlap(
    talk: tuple[list[Word], Brief], data: st.DataObject
) -> None:
    words, brief = talk
    found = picked(words, brief, data)
    target = Fraction(brief.target_seconds)

    assert len(found) <= brief.count
    assert [m.score for m in found] == sorted((m.score for m in found), reverse=True)
    for moment in found:
        length = moment.end - moment.start
        assert target / 2 <= length <= target * 3 / 2
        for time in (moment.start, moment.end):
            assert (time * 1000).denominator == 1
            assert not is_inside(time, words, EXACT)
        assert moment.start >= 0
        assert brief.duration_seconds is None or moment.end <= brief.duration_seconds
        first, last = float(moment.start), float(moment.end)
        inside = [w for w in words if first <= w.start and w.end <= last]
        assert inside[0].start - moment.start < 0.251
        assert moment.end - inside[-1].end < 0.351
    for one, other in combinations(found, 2):
        shared = min(one.end, other.end) - max(one.start, other.start)
        assert shared * 10 <= min(one.end - one.start, other.end - other.start)


@pytest.mark.slow
@settings(deadline=None)
@given(speech(unit=997, overlap=50), st.data())
def test_words_that_overlap_a_little_are_barely_cut(
    talk: tuple[list[Word], Brief], data: st.DataObject
) -> None:
    words, brief = talk
    for moment in picked(words, brief, data):
        assert not is_inside(moment.start, words, BLUR)
        assert not is_inside(moment.end, words, BLUR)


def test_a_line_longer_than_the_maximum_is_split_between_words() -> None:
    words = spread(0, 14.9, None, "never a full stop " * 12)
    brief = Brief(5, 5, 15)
    talk = Speech.of(words, brief)
    assert len(talk.lines) == 1
    found = moments(
        talk, [Choice(PieceRange(n, n), 50, "", "") for n in range(len(talk.pieces))], 5
    )
    assert len(found) > 2
    assert not any(is_inside(time, words, EXACT) for m in found for time in (m.start, m.end))


def test_a_short_choice_is_extended_on_both_sides_and_a_long_one_keeps_its_start() -> None:
    words = [word for at in range(20) for word in spread(at * 4, at * 4 + 3.5, None, "One two.")]
    talk = Speech.of(words, Brief(1, 20, 80))
    [grown] = moments(talk, [Choice(PieceRange(5, 5), 50, "", "")], 1)
    assert grown.start < 20 and grown.end > 23.5
    [shrunk] = moments(talk, [Choice(PieceRange(5, 19), 50, "", "")], 1)
    assert 19.7 < shrunk.start < 20 and 47 < shrunk.end <= shrunk.start + 30


def test_a_choice_with_too_little_speech_around_it_is_not_a_moment() -> None:
    words = spread(2, 8, None, "All that is said here.")
    talk = Speech.of(words, Brief(3, 60, 600))
    assert moments(talk, [Choice(PieceRange(0, 0), 50, "", "")], 3) == []
