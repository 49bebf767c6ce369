"""Times in a source, exact: parsed to fractions of a second, never to floats."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


def parse_timecode(value: object) -> Fraction:
    """Seconds, from `HH:MM:SS`, `HH:MM:SS.mmm`, `HH:MM:SS,mmm`, `MM:SS` or a number of seconds.

    Raises ValueError where the value is none of these, is negative or is not finite.
    """
    if isinstance(value, Fraction):
        return value
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        # A float means the number it is written as: 0.1 is a tenth, not its binary neighbour.
        decimal = Decimal(str(value))
        if not decimal.is_finite() or not 0 <= decimal < 10**9:
            raise ValueError(f"{value} is not a number of seconds from 0")
        return Fraction(decimal)
    if not isinstance(value, str):
        # A ValueError, because pydantic turns only that into a validation error.
        raise ValueError("a time is a string or a number of seconds")  # noqa: TRY004
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return Fraction(text)
    match = _CLOCK.fullmatch(text)
    if not match or int(match[2]) > 59 or int(match[3]) > 59:
        raise ValueError(f"{text[:40]!r} is not a time: write HH:MM:SS, HH:MM:SS.mmm or seconds")
    hours, minutes, seconds = (int(part or 0) for part in match.group(1, 2, 3))
    return hours * 3600 + minutes * 60 + Fraction(f"{seconds}.{match[4] or 0}")


# Start and end in seconds, from the source's first frame.
TimeSpan = tuple[Fraction, Fraction]


def parse_span(text: str) -> TimeSpan:
    """Parses `START-END`, each a time. Raises ValueError saying what is wrong with it."""
    start, dash, end = text.replace("–", "-").partition("-")
    if not dash:
        raise ValueError(f"{text!r} is not START-END: write 00:01:00-00:01:30")
    span = parse_timecode(start), parse_timecode(end)
    if span[0] >= span[1]:
        raise ValueError(f"{text!r} ends before it starts")
    return span


def format_timecode(seconds: Fraction) -> str:
    """`HH:MM:SS`, with the decimals that `seconds` has, to a nanosecond: `00:15:30.25`."""
    nanoseconds = round(seconds * 10**9)
    whole, rest = divmod(nanoseconds, 10**9)
    decimals = f".{rest:09d}".rstrip("0") if rest else ""
    return format_clock(Fraction(whole)) + decimals


def format_clock(seconds: Fraction) -> str:
    """`HH:MM:SS`, what is left of a second cut off: the form of a record's `duration`."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}"


def format_subtitle_time(seconds: Fraction) -> str:
    """`HH:MM:SS,mmm`, as SubRip writes it, to the nearest millisecond."""
    milliseconds = round(seconds * 1000)
    return f"{format_clock(Fraction(milliseconds, 1000))},{milliseconds % 1000:03d}"


Timecode = Annotated[
    Fraction,
    BeforeValidator(parse_timecode),
    PlainSerializer(format_timecode, return_type=str),
]

SubtitleTime = Annotated[
    Fraction,
    BeforeValidator(parse_timecode),
    PlainSerializer(format_subtitle_time, return_type=str),
]
