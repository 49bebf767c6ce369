"""Words without times get them from the words before and after them."""

from clipflow.domain.transcript import PartialWord, fill_times, split_words
from clipflow.speech.alignment import regroup


def test_words_without_times_share_the_time_between_other_words() -> None:
    recognized = [
        PartialWord("It"),
        PartialWord("costs", 1.0, 2.0, 0.9),
        PartialWord("42"),
        PartialWord("$", 2.4),
        PartialWord("a", 3, 4),
    ]
    words = fill_times([*recognized, PartialWord("end")], 0.5, 5.0)
    assert [word.text for word in words] == ["It", "costs", "42", "$", "a", "end"]
    assert [(word.start, word.end) for word in words] == [
        (0.5, 1.0),
        (1.0, 2.0),
        (2.0, 2.667),
        (2.667, 3.0),
        (3.0, 4.0),
        (4.0, 5.0),
    ]


def test_without_any_time_words_share_the_span_by_their_lengths() -> None:
    words = fill_times([PartialWord("a"), PartialWord("bcd")], 1.0, 3.0)
    assert [(word.start, word.end) for word in words] == [(1.0, 1.5), (1.5, 3.0)]


def test_aligned_characters_are_joined_into_words() -> None:
    found = [
        PartialWord("用", 0.0, 0.5, 0.5),
        PartialWord("T", 0.5, 0.7, 0.4),
        PartialWord("V", 0.7, 0.9, 0.6),
        PartialWord("。"),
    ]
    assert regroup(found, " 用TV。") == [
        PartialWord("用", 0.0, 0.5, 0.5),
        PartialWord("TV。", 0.5, 0.9, 0.5),
    ]


def test_thai_marks_and_opening_brackets_stay_with_their_character() -> None:
    assert split_words("กิน “ข้าว”") == ["กิ", "น", "“ข้า", "ว”"]
    assert split_words("เวลา") == ["เว", "ลา"]
