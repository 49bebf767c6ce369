"""Words grouped into captions, and text split into grapheme clusters."""

import time
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipflow.captions.groups import FULL_SIZE, ROW_WIDTH, SMALLEST_SIZE, Group, groups, width
from clipflow.captions.typefaces import clusters
from clipflow.domain.transcript import Word
from tests.clipflow.captions.drawing import words_of


def group_texts(words: list[Word]) -> list[str]:
    return [" ".join(token.text for token in group.tokens) for group in groups(words)]


def test_a_group_has_two_to_five_words_of_one_sentence() -> None:
    text = "The first thing that I would tell anybody is this. Write it down before you forget it!"
    found = group_texts(words_of(text))
    assert " ".join(found) == text
    assert all(2 <= len(part.split()) <= 5 for part in found)
    assert any(part.endswith("this.") for part in found)


def test_a_pause_or_a_change_of_speaker_ends_a_group() -> None:
    first, second = words_of("one two"), words_of("three four", at=1.5)
    answer = [word.model_copy(update={"speaker": "B"}) for word in words_of("five six", at=2.3)]
    assert group_texts([*first, *second, *answer]) == ["one two", "three four", "five six"]


@pytest.mark.parametrize(
    ("pause", "expected"), [(0.1, ["Yes. I do"]), (0.6, ["Yes.", "I do"])], ids=["short", "long"]
)
def test_a_single_word_joins_the_next_caption_unless_a_long_pause_separates_them(
    pause: float, expected: list[str]
) -> None:
    assert group_texts([*words_of("Yes."), *words_of("I do", at=0.4 + pause)]) == expected


@pytest.mark.parametrize(
    "text", ["今天我们来谈谈人工智能的未来发展方向", "きょうはとてもいいてんきですね"]
)
def test_four_to_ten_characters_make_a_group_where_words_have_no_spaces(text: str) -> None:
    one_by_one = [part.replace(" ", "") for part in group_texts(words_of(" ".join(text), each=0.2))]
    at_once = group_texts(words_of(text))
    assert "".join(one_by_one) == "".join(at_once) == text
    assert all(4 <= len(part) <= 10 for part in one_by_one + at_once)


def test_a_word_too_long_for_a_row_is_split_into_two_that_share_its_time() -> None:
    (group,) = groups([Word(text="Pneumono" * 5, start=1, end=3)])
    assert [len(row) for row in group.rows] == [1, 1]
    assert [float(at) for token in group.tokens for at in (token.start, token.end)] == [1, 2, 2, 3]
    assert SMALLEST_SIZE <= group.size < FULL_SIZE


def fits(group: Group) -> bool:
    widest = max(width(row) for row in group.rows) * group.size
    return 1 <= len(group.rows) <= 2 and widest <= ROW_WIDTH + 0.01 and group.size >= SMALLEST_SIZE


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=60), st.floats(0, 20), st.floats(0, 2)), max_size=12
    )
)
def test_any_words_fit_and_keep_their_order(spoken: list[tuple[str, float, float]]) -> None:
    words = [Word(text=text, start=at, end=at + long) for text, at, long in spoken]
    found = groups(words)
    assert all(map(fits, found))
    tokens = [token for group in found for token in group.tokens]
    assert all(one.start <= other.start for one, other in pairwise(tokens))


def test_characters_of_one_grapheme_cluster_are_not_split() -> None:
    assert clusters("ậé") == ["ậ", "é"]
    assert clusters("👨\u200d👩\u200d👧❤️🇫🇷🇯🇵👍🏽") == [
        "👨\u200d👩\u200d👧",
        "❤️",
        "🇫🇷",
        "🇯🇵",
        "👍🏽",
    ]
    assert clusters("क्षमा") == ["क्ष", "मा"]
    assert clusters("เราจะน้ำ") == ["เรา", "จะ", "น้ำ"]


@pytest.mark.parametrize(
    ("script", "parts"),
    [
        ("Khmer", ["ស្ត្រី", "ខ្មែ", "រ"]),
        ("Myanmar", ["သ", "တ္တ", "ဝါ", "နှ", "င့်"]),
        ("Sinhala", ["ක්\u200dෂ", "ය"]),
        ("Kannada", ["ಕ್ಷ", "ಮಾ"]),
        ("Korean, not composed", ["\u1112\u1161\u11ab", "글"]),
        (
            "keycaps and flags of regions",
            ["1️⃣", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"],
        ),
    ],
)
def test_syllables_and_emoji_sequences_are_not_split(script: str, parts: list[str]) -> None:
    assert clusters("".join(parts)) == [unicodedata.normalize("NFC", part) for part in parts]


def test_a_character_keeps_at_most_three_combining_marks() -> None:
    assert clusters("x" + "\u0302\u0323" * 30 + "a") == ["x\u0323\u0323\u0323", "a"]


@pytest.mark.parametrize("text", ["🇫🇷", "เ", "a\u200d", "क्"])
def test_splitting_long_sequences_takes_linear_time(text: str) -> None:
    begun = time.process_time()
    assert "".join(clusters(text * 50_000)) == text * 50_000
    assert time.process_time() - begun < 5
