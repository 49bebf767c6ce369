"""The option `--cut`: how spans are parsed, and the clip ids that are derived from them."""

from fractions import Fraction
from pathlib import Path

import pytest

from clipflow.domain.timecode import parse_span
from deployments.command.files import clip_id_of


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("00:01:00-00:01:30", 60, 90),
        ("1:00-1:30.5", 60, Fraction(181, 2)),
        ("60 – 90", 60, 90),
        ("0-0.04", 0, Fraction(1, 25)),
    ],
)
def test_a_span_is_two_exact_times(text: str, start: object, end: object) -> None:
    assert parse_span(text) == (start, end)


def test_a_clip_is_named_after_its_file_and_times() -> None:
    cuts = [parse_span("1:00-1:30.5"), parse_span("3600.123-3601")]
    assert clip_id_of(Path("a/My talk, day 1.mp4"), cuts) == ("My-talk-day-1-60-90.5_3600.123-3601")


def test_different_times_give_different_clip_names() -> None:
    many = [parse_span(f"{n}-{n + 1}") for n in range(100)]
    one, other = clip_id_of(Path("talk.mp4"), many), clip_id_of(Path("talk.mp4"), many[::-1])
    assert one != other
    assert len(one) <= 128
