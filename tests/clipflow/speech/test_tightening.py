"""Which fillers and silences are taken out, decided from words and the level of the sound."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipflow.domain.removals import Timeline, TimeRange, is_filler
from clipflow.domain.transcript import Word
from clipflow.speech.tightening import (
    KEPT_SILENCE,
    LEVELS_PER_SECOND,
    LONGEST_SILENCE,
    MARGIN,
    SHORTEST_CUT,
    SHORTEST_PIECE,
    Cut,
    Loudness,
    SpokenWord,
    decide,
    restorable,
    spoken_words,
)

LOUD, QUIET = -20.0, -60.0
Said = tuple[str, float, float]


def levels(sounds: Sequence[tuple[float, float]], seconds: float) -> list[float]:
    """Loud in `sounds`, and quiet otherwise."""
    times = [n / LEVELS_PER_SECOND for n in range(round(seconds * LEVELS_PER_SECOND))]
    return [LOUD if any(a <= t < b for a, b in sounds) else QUIET for t in times]


def frames(seconds: float, rate: int = 25) -> list[Fraction]:
    return [Fraction(n, rate) for n in range(round(seconds * rate) + 1)]


def spoken(said: Sequence[Said], seconds: float, language: str = "en") -> list[SpokenWord]:
    words = [Word(text=text, start=start, end=end) for text, start, end in said]
    return spoken_words(words, {}, TimeRange(Fraction(0), Fraction(str(seconds))), language)


def taken(
    said: Sequence[Said],
    seconds: float,
    *,
    sounds: Sequence[tuple[float, float]] = (),
    restored: Sequence[str] = (),
) -> list[Cut]:
    """What is taken out of words that are as long as they sound, besides other `sounds`."""
    heard = [*((start, end) for _, start, end in said), *sounds]
    words = spoken(said, seconds)
    return decide(words, frames(seconds), Loudness(levels(heard, seconds), words), restored)


def times(cuts: Sequence[Cut]) -> dict[str, tuple[float, float]]:
    return {cut.id: (float(cut.start), float(cut.end)) for cut in cuts}


TALK: list[Said] = [("So", 0.2, 0.6), ("um,", 0.9, 1.2), ("we", 1.5, 1.9), ("go.", 3.3, 3.9)]


def test_a_filler_goes_with_the_silence_around_it_and_a_long_silence_is_shortened() -> None:
    found = times(taken(TALK, 4.2))
    assert list(found) == ["w1", "p3"]
    # 0.15 s stay on both sides, within a frame.
    assert found["w1"] == (0.72, 1.36)
    start, end = found["p3"]
    assert 2.05 <= start <= 2.12
    assert 3.08 <= end <= 3.15


def test_pauses_up_to_the_bound_stay() -> None:
    assert taken([("one", 0.2, 1.0), ("two", 1.68, 2.4)], 2.6) == []
    [cut] = taken([("one", 0.2, 1.0), ("two", 1.84, 2.4)], 2.6)
    left = Fraction("0.84") - cut.duration
    # Up to a frame more on both sides, and two hundredths, over which levels are averaged.
    assert KEPT_SILENCE <= left <= KEPT_SILENCE + 2 * Fraction(1, 25) + 2 * Fraction(2, 100)
    assert left < LONGEST_SILENCE


@pytest.mark.parametrize(
    "sound",
    [(2.2, 2.9), (2.5, 2.7), (1.9, 3.3)],
    ids=["laughter", "a knock", "music"],
)
def test_what_sounds_between_words_is_no_silence(sound: tuple[float, float]) -> None:
    assert "p3" not in times(taken(TALK, 4.2, sounds=[sound]))


def test_a_sound_beside_a_filler_is_not_taken_out_with_it() -> None:
    said = [("so", 0.2, 0.7), ("um", 0.9, 1.2), ("yes", 3.4, 3.9)]
    [cut] = taken(said, 4.2, sounds=[(1.9, 2.6)])
    assert cut.id == "w1"
    assert cut.end <= Fraction("1.9") - MARGIN


def test_a_filler_that_runs_into_a_word_is_left() -> None:
    said = [("the", 0.2, 0.7), ("uh", 0.7, 1.1), ("end", 1.1, 1.9)]
    assert taken(said, 2.2) == []
    # It can be cut off where the sound dips.
    dip = [(word, start + 0.04, end - 0.04) for word, start, end in said]
    words = spoken(said, 2.2)
    sounds = levels([(start, end) for _, start, end in dip], 2.2)
    [cut] = decide(words, frames(2.2), Loudness(sounds, words))
    assert cut.id == "w1"
    assert cut.start - Fraction("0.7") <= Fraction(2, 25)


def test_fillers_at_the_ends_go_with_the_silence_before_and_after() -> None:
    said = [("Um", 0.3, 0.6), ("we", 1.0, 1.6), ("agree", 1.7, 2.3), ("uh", 2.6, 2.9)]
    found = taken(said, 3.2)
    assert [cut.id for cut in found] == ["w0", "w3"]
    assert found[0].start == 0
    assert found[-1].end == Fraction("3.2")


def test_two_fillers_in_a_row_are_put_back_one_by_one() -> None:
    said = [("so", 0.2, 0.7), ("uh", 0.9, 1.2), ("um", 1.4, 1.7), ("yes", 2.0, 2.6)]
    first, second = taken(said, 3)
    assert (first.id, second.id) == ("w1", "w2")
    assert first.end == second.start
    [left] = taken(said, 3, restored=["w1"])
    assert left.id == "w2"
    assert left.start >= Fraction("1.2") + MARGIN
    words = spoken(said, 3)
    loudness = Loudness(levels([(a, b) for _, a, b in said], 3), words)
    assert [cut.id for cut in restorable(words, frames(3), loudness, ["w1", "w9", "p2"])] == ["w1"]


def test_a_cut_that_leaves_a_flash_between_it_and_another_is_not_made() -> None:
    said = [("so", 0.2, 0.7), ("uh", 1.0, 1.6), ("I", 1.8, 1.9), ("um", 2.1, 2.3)]
    said.append(("think", 2.6, 3.2))
    [cut] = taken(said, 3.4)
    # The longer one.
    assert cut.id == "w1"


def test_a_short_of_fillers_alone_stays() -> None:
    assert taken([("um", 0.3, 0.6)], 1) == []


def test_a_corrected_word_is_what_a_person_has_made_of_it() -> None:
    words = [Word(text=text, start=start, end=end) for text, start, end in TALK]
    span = TimeRange(Fraction(0), Fraction(4))
    shown = {0: "So", 1: "Ulm", 2: "we", 3: "go."}
    assert not spoken_words(words, shown, span, "en")[1].is_filler
    # Hidden: it is still heard.
    del shown[1]
    assert spoken_words(words, shown, span, "en")[1].is_filler


def test_words_of_subtitles_over_a_video_without_sound() -> None:
    words = spoken(TALK, 4.2)
    silent = Loudness([-120.0] * 420, words)
    assert [cut.id for cut in decide(words, frames(4.2), silent)] == ["w1", "p3"]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Um,", "en", True),
        ("uhhh...", "en-GB", True),
        ("er", "en", True),
        ("er", "de", False),
        ("Äh", "de", True),
        ("A\u0308hm", "de", True),
        ("euh", "fr", True),
        ("em", "pt", False),
        ("эээ", "ru", True),
        ("um", "pt", False),
        ("um", None, False),
        ("Ummm", None, True),
        ("like", "en", False),
        ("umbrella", "en", False),
        ("err", "en", False),
        ("uh-huh", "en", False),
        ("...", "en", False),
        ("um", "xx", False),
    ],
)
def test_fillers_are_sounds_without_a_meaning(
    text: str, language: str | None, expected: bool
) -> None:
    assert is_filler(text, language) is expected


TEXTS = st.sampled_from(["um", "uh", "word", "another"])
HUNDREDTHS = st.integers(0, 120)


@given(
    st.lists(st.tuples(TEXTS, st.integers(-10, 150), st.integers(1, 80)), max_size=12),
    st.sampled_from([24, 25, 30]),
    st.lists(st.tuples(HUNDREDTHS, HUNDREDTHS), max_size=6),
    st.sets(st.sampled_from([f"{kind}{n}" for kind in "wp" for n in range(12)]), max_size=4),
)
def test_no_cut_is_in_a_word_off_a_frame_or_leaves_a_flash(
    said: list[tuple[str, int, int]],
    rate: int,
    noises: list[tuple[int, int]],
    restored: set[str],
) -> None:
    placed: list[Said] = []
    reached = 0
    for text, gap, length in said:
        start = max(0, reached + gap)
        reached = start + length
        placed.append((text, start / 100, reached / 100))
    seconds = reached / 100 + 0.5
    heard = [(a, b) for _, a, b in placed] + [(a / 10, (a + b) / 10) for a, b in noises]
    words, grid = spoken(placed, seconds), frames(seconds, rate)
    grid = [time for time in grid if time < Fraction(str(seconds))] + [Fraction(str(seconds))]
    if not words:
        return
    cuts = decide(words, grid, Loudness(levels(heard, seconds), words), sorted(restored))
    out = {cut.word.number for cut in cuts if cut.id.startswith("w")}
    assert not {cut.id for cut in cuts} & restored
    for cut in cuts:
        assert cut.start in (*grid, 0)
        assert cut.end in grid
        for word in words:
            if word.number in out:
                continue
            assert word.end + MARGIN <= cut.start or cut.end <= word.start - MARGIN
    if cuts:
        pieces = Timeline.without(cuts, grid[-1]).pieces
        assert all(piece.duration >= SHORTEST_PIECE for piece in pieces)
        assert all(b.start - a.end >= SHORTEST_CUT for a, b in pairwise(pieces))
