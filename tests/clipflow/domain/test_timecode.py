"""Times in every accepted notation, and the reasons for which others are rejected."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipflow.domain.timecode import format_clock, format_timecode, parse_timecode


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("00:15:30", 930),
        ("00:15:30.250", Fraction(3721, 4)),
        ("00:15:30,250", Fraction(3721, 4)),
        ("15:30", 930),
        ("75:30", 4530),
        ("1500:00.5", Fraction(180_001, 2)),
        ("100:00:00", 360_000),
        ("PT1M30S", 90),
        ("PT1H2M3.5S", Fraction(7447, 2)),
        ("P1DT2H", 93_600),
        ("P1W", 604_800),
        ("1h2m3,5s", Fraction(7447, 2)),
        ("90s", 90),
        ("PT1.5M", 90),
        ("PT0.5H", 1800),
        ("P0,5D", 43_200),
        ("1h 2m 3s", 3723),
        ("1500 ms", Fraction(3, 2)),
        ("1 day, 2:00:00.5", Fraction(187_201, 2)),
        ("930", 930),
        ("930.5", Fraction(1861, 2)),
        (930, 930),
        (0.1, Fraction(1, 10)),
        (Decimal("12.345"), Fraction(12345, 1000)),
        (" 00:00:01 ", 1),
    ],
)
def test_each_notation_of_a_time_is_parsed_exactly(written: object, seconds: Fraction) -> None:
    assert parse_timecode(written) == seconds


@pytest.mark.parametrize(
    "written",
    ["", "banana", "-1", -1, "00:60:00", "00:00:60", "1:2:3:4", "00:00:1e3", "00:00:01.",
     float("nan"), float("inf"), True, None, [1], "٣", "00:00:01;ls",
     "P", "PT", "T", "75:60", "1:75:30", "2025-01-15T10:42:00Z", "PT1S1M"],
)  # fmt: skip
def test_an_invalid_time_is_rejected(written: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_timecode(written)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("00:01:02:15", "counts frames"),
        ("00:01:02;15", "counts frames"),
        ("01:02;15", "counts frames"),
        ("00:01:02:15.5", "counts frames"),
        ("00:01:02.15f", "counts frames"),
        ("62s15f", "counts frames"),
        ("1500 frames", "counts frames"),
        ("P1M", "years or months"),
        ("P1Y2M", "years or months"),
        ("-00:00:05", "is negative"),
        ("soon", "is not a time"),
    ],
)
def test_the_error_for_an_invalid_time_names_the_reason(written: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_timecode(written)


@given(st.fractions(min_value=0, max_value=10**6, max_denominator=1000))
def test_a_formatted_time_can_be_parsed(seconds: Fraction) -> None:
    milliseconds = Fraction(round(seconds * 1000), 1000)
    assert parse_timecode(format_timecode(milliseconds)) == milliseconds


def test_a_records_duration_is_rounded_down_to_whole_seconds() -> None:
    assert format_clock(Fraction("135.5")) == "00:02:15"
