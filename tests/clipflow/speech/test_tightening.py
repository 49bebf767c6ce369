"""Which fillers and silences are cut, by the words and by the level of the sound."""

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
    Loudness,
    PlannedRemoval,
    SpokenWord,
    decide,
    restorable,
    spoken_words,
)

LOUD, QUIET = -20.0, -60.0
TimedWord = tuple[str, float, float]


def levels(sounds: Sequence[tuple[float, float]], seconds: float) -> list[float]:
    """Loud in `sounds`, and quiet otherwise."""
    times = [n / LEVELS_PER_SECOND for n in range(round(seconds * LEVELS_PER_SECOND))]
    return [LOUD if any(a <= t < b for a, b in sounds) else QUIET for t in times]


def frames(seconds: float, rate: int = 25) -> list[Fraction]:
    return [Fraction(n, rate) for n in range(round(seconds * rate) + 1)]


def spoken(timed: Sequence[TimedWord], seconds: float, language: str = "en") -> list[SpokenWord]:
    words = [Word(text=text, start=start, end=end) for text, start, end in timed]
    return spoken_words(words, {}, TimeRange(Fraction(0), Fraction(str(seconds))), language)


def cuts_of(
    timed: Sequence[TimedWord],
    seconds: float,
    *,
    sounds: Sequence[tuple[float, float]] = (),
    restored: Sequence[str] = (),
) -> list[PlannedRemoval]:
    """The cuts of words that are loud from their start to their end, besides other `sounds`."""
    loud = [*((start, end) for _, start, end in timed), *sounds]
    words = spoken(timed, seconds)
    return decide(words, frames(seconds), Loudness(levels(loud, seconds), words), restored)


def times(cuts: Sequence[PlannedRemoval]) -> dict[str, tuple[float, float]]:
    return {cut.id: (float(cut.start), float(cut.end)) for cut in cuts}


TALK: list[TimedWord] = [("So", 0.2, 0.6), ("um,", 0.9, 1.2), ("we", 1.5, 1.9), ("go.", 3.3, 3.9)]


def test_a_filler_is_cut_with_the_silence_around_it_and_a_long_silence_is_shortened() -> None:
    found = times(cuts_of(TALK, 4.2))
    assert list(found) == ["w1", "p3"]
    # 0.15 s of silence stay on each side, rounded to a frame.
    assert found["w1"] == (0.72, 1.36)
    start, end = found["p3"]
    assert 2.05 <= start <= 2.12
    assert 3.08 <= end <= 3.15


def test_pauses_up_to_the_limit_are_kept() -> None:
    assert cuts_of([("one", 0.2, 1.0), ("two", 1.68, 2.4)], 2.6) == []
    [cut] = cuts_of([("one", 0.2, 1.0), ("two", 1.84, 2.4)], 2.6)
    left = Fraction("0.84") - cut.duration
    # Up to a frame more stays on each side, and the two hundredths that a level is averaged over.
    assert KEPT_SILENCE <= left <= KEPT_SILENCE + 2 * Fraction(1, 25) + 2 * Fraction(2, 100)
    assert left < LONGEST_SILENCE


@pytest.mark.parametrize(
    "sound",
    [(2.2, 2.9), (2.5, 2.7), (1.9, 3.3)],
    ids=["laughter", "a knock", "music"],
)
def test_a_sound_between_words_is_not_a_silence(sound: tuple[float, float]) -> None:
    assert "p3" not in times(cuts_of(TALK, 4.2, sounds=[sound]))


def test_a_sound_beside_a_filler_is_not_cut_with_it() -> None:
    timed = [("so", 0.2, 0.7), ("um", 0.9, 1.2), ("yes", 3.4, 3.9)]
    [cut] = cuts_of(timed, 4.2, sounds=[(1.9, 2.6)])
    assert cut.id == "w1"
    assert cut.end <= Fraction("1.9") - MARGIN


def test_a_filler_without_a_pause_beside_it_is_kept() -> None:
    timed = [("the", 0.2, 0.7), ("uh", 0.7, 1.1), ("end", 1.1, 1.9)]
    assert cuts_of(timed, 2.2) == []
    # It is cut if the level falls between it and the words.
    dip = [(word, start + 0.04, end - 0.04) for word, start, end in timed]
    words = spoken(timed, 2.2)
    sounds = levels([(start, end) for _, start, end in dip], 2.2)
    [cut] = decide(words, frames(2.2), Loudness(sounds, words))
    assert cut.id == "w1"
    assert cut.start - Fraction("0.7") <= Fraction(2, 25)


def test_fillers_at_the_ends_are_cut_with_the_silence_before_and_after() -> None:
    timed = [("Um", 0.3, 0.6), ("we", 1.0, 1.6), ("agree", 1.7, 2.3), ("uh", 2.6, 2.9)]
    found = cuts_of(timed, 3.2)
    assert [cut.id for cut in found] == ["w0", "w3"]
    assert found[0].start == 0
    assert found[-1].end == Fraction("3.2")


def test_two_fillers_in_a_row_can_be_restored_one_by_one() -> None:
    timed = [("so", 0.2, 0.7), ("uh", 0.9, 1.2), ("um", 1.4, 1.7), ("yes", 2.0, 2.6)]
    first, second = cuts_of(timed, 3)
    assert (first.id, second.id) == ("w1", "w2")
    assert first.end == second.start
    [left] = cuts_of(timed, 3, restored=["w1"])
    assert left.id == "w2"
    assert left.start >= Fraction("1.2") + MARGIN
    words = spoken(timed, 3)
    loudness = Loudness(levels([(a, b) for _, a, b in timed], 3), words)
    assert [cut.id for cut in restorable(words, frames(3), loudness, ["w1", "w9", "p2"])] == ["w1"]


def test_of_two_cuts_with_a_very_short_piece_between_them_one_is_made() -> None:
    timed = [("so", 0.2, 0.7), ("uh", 1.0, 1.6), ("I", 1.8, 1.9), ("um", 2.1, 2.3)]
    timed.append(("think", 2.6, 3.2))
    [cut] = cuts_of(timed, 3.4)
    # The longer filler is cut.
    assert cut.id == "w1"


def test_a_short_that_has_only_fillers_is_not_cut() -> None:
    assert cuts_of([("um", 0.3, 0.6)], 1) == []


@pytest.mark.parametrize(
    ("shortest", "expected"),
    [("2.4", ["w1", "p3"]), ("3.4", ["w1"]), ("4", []), ("4.2", []), ("5", ["w1", "p3"])],
)
def test_a_short_stays_as_long_as_it_has_to_be(shortest: str, expected: list[str]) -> None:
    words, least = spoken(TALK, 4.2), Fraction(shortest)
    loudness = Loudness(levels([(start, end) for _, start, end in TALK], 4.2), words)
    cuts = decide(words, frames(4.2), loudness, (), least)
    # A moment of 4.2 s that a person has chosen is shorter than 5 s anyway.
    assert [cut.id for cut in cuts] == expected
    remaining = Timeline.without(cuts, Fraction("4.2")).duration
    assert remaining >= least or least > Fraction("4.2")


def test_a_corrected_word_is_a_filler_only_if_its_correction_is() -> None:
    words = [Word(text=text, start=start, end=end) for text, start, end in TALK]
    span = TimeRange(Fraction(0), Fraction(4))
    shown = {0: "So", 1: "Ulm", 2: "we", 3: "go."}
    assert not spoken_words(words, shown, span, "en")[1].is_filler
    # A word that is hidden from the captions is still in the sound.
    del shown[1]
    assert spoken_words(words, shown, span, "en")[1].is_filler


def test_fillers_are_cut_by_the_times_of_subtitles_if_a_video_has_no_sound() -> None:
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
def test_only_sounds_without_a_meaning_are_fillers(
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
def test_no_cut_is_in_a_word_off_a_frame_or_leaves_a_very_short_piece(
    timed: list[tuple[str, int, int]],
    rate: int,
    noises: list[tuple[int, int]],
    restored: set[str],
) -> None:
    placed: list[TimedWord] = []
    reached = 0
    for text, gap, length in timed:
        start = max(0, reached + gap)
        reached = start + length
        placed.append((text, start / 100, reached / 100))
    seconds = reached / 100 + 0.5
    loud = [(a, b) for _, a, b in placed] + [(a / 10, (a + b) / 10) for a, b in noises]
    words, grid = spoken(placed, seconds), frames(seconds, rate)
    grid = [time for time in grid if time < Fraction(str(seconds))] + [Fraction(str(seconds))]
    if not words:
        return
    cuts = decide(words, grid, Loudness(levels(loud, seconds), words), sorted(restored))
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
