"""Exact times in a source, as fractions of a second."""

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

# `M:SS` may count more than 59 minutes, and `H:MM:SS` more than 24 hours.
_MINUTES = re.compile(r"(\d{1,6}):(\d{1,2}(?:[.,]\d{1,9})?)", re.ASCII)
_HOURS = re.compile(r"(\d{1,4}):(\d{1,2}):(\d{1,2}(?:[.,]\d{1,9})?)", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
# SMPTE timecodes, also without hours, with a fraction of a frame, or marked by an `f`.
_FRAMES = re.compile(
    r"\d{1,3}:\d{1,2}:\d{1,2}[:;+/]\d{1,3}(?:\.\d+)?f?"
    r"|\d{1,3}(?::\d{1,2}){1,2}(?:;\d{1,3}|[:.,]\d{1,3}f)"
    r"|[\ds]+\s*f(?:rames?)?",
    re.ASCII | re.IGNORECASE,
)
# A duration of ISO 8601 without years and months; `PT` may be omitted, and blanks may be added, as
# in `1m 30s`. Any unit may have decimals, which ISO 8601 permits in the last one.
_DECIMAL = r"(\d{1,9}(?:[.,]\d{1,9})?)\s*"
_DURATION = re.compile(
    rf"(?:P(?:{_DECIMAL}W)?(?:{_DECIMAL}D)?(?:T|$))?"
    rf"(?:{_DECIMAL}H\s*)?(?:{_DECIMAL}M\s*)?(?:{_DECIMAL}S)?(?:{_DECIMAL}ms)?",
    re.ASCII | re.IGNORECASE,
)
_DURATION_UNITS = (
    Fraction(7 * 86400),
    Fraction(86400),
    Fraction(3600),
    Fraction(60),
    Fraction(1),
    Fraction(1, 1000),
)
# More than 24 hours as Python writes a `timedelta`: `1 day, 2:00:00`.
_DAYS = re.compile(r"(\d{1,4}) days?,? (.+)", re.ASCII)
_CALENDAR = re.compile(r"P\d+(?:\.\d+)?[YM].*", re.ASCII | re.IGNORECASE)
_FORMS = "write HH:MM:SS, HH:MM:SS.mmm or seconds"


def parse_timecode(value: object) -> Fraction:
    """Parses a time to seconds.

    `value` is a number of seconds or a text: `HH:MM:SS`, `HH:MM:SS.mmm`, `HH:MM:SS,mmm`, `MM:SS`, a
    number of seconds, `1 day, HH:MM:SS`, or a duration of ISO 8601 such as `PT1M30S`, also as
    `1m30s`. Raises ValueError for others, for negative and infinite values, and for frame numbers,
    as the rate is unknown.
    """
    if isinstance(value, Fraction):
        return value
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        # The float's decimal digits are used, so 0.1 is exactly a tenth.
        decimal = Decimal(str(value))
        if not decimal.is_finite() or not 0 <= decimal < 10**9:
            raise ValueError(f"{value} is not a number of seconds, 0 or more")
        return Fraction(decimal)
    if not isinstance(value, str):
        # A ValueError, because pydantic turns only that into a validation error.
        raise ValueError("a time is a string or a number of seconds")  # noqa: TRY004
    text = value.strip()
    seconds = _parse_text(text)
    if seconds is None:
        raise ValueError(_invalid_reason(text))
    return seconds


def _parse_text(text: str) -> Fraction | None:
    if _SECONDS.fullmatch(text):
        return Fraction(text)
    if match := _MINUTES.fullmatch(text):
        return _sixtieths(("0", *match.groups()))
    if (match := _HOURS.fullmatch(text)) and int(match[2]) <= 59:
        return _sixtieths(match.groups())
    if (match := _DAYS.fullmatch(text)) and _HOURS.fullmatch(match[2]):
        rest = _parse_text(match[2])
        return None if rest is None else rest + 86400 * int(match[1])
    if (match := _DURATION.fullmatch(text)) and any(match.groups()):
        parts = (_decimal(part or "0") for part in match.groups())
        return sum((p * unit for p, unit in zip(parts, _DURATION_UNITS, strict=True)), Fraction(0))
    return None


def _sixtieths(parts: Sequence[str]) -> Fraction | None:
    hours, minutes, seconds = map(_decimal, parts)
    return hours * 3600 + minutes * 60 + seconds if seconds < 60 else None


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", "."))


def _invalid_reason(text: str) -> str:
    shown = repr(text[:40])
    if _FRAMES.fullmatch(text):
        return f"{shown} counts frames: write them as decimals of a second, as in 00:01:02.5"
    if _CALENDAR.fullmatch(text):
        return f"{shown} counts years or months, which have no fixed length: {_FORMS}"
    if text.startswith(("-", "−")):
        return f"{shown} is negative: times count from the first frame"
    return f"{shown} is not a time: {_FORMS}"


# Start and end in seconds, from the source's first frame.
TimeSpan = tuple[Fraction, Fraction]


def parse_span(text: str) -> TimeSpan:
    """Parses `START-END`, each a time. Raises ValueError with the reason if it is invalid."""
    start, dash, end = text.replace("–", "-").partition("-")
    if not dash:
        raise ValueError(f"{text!r} is not START-END: write 00:01:00-00:01:30")
    span = parse_timecode(start), parse_timecode(end)
    if span[0] >= span[1]:
        raise ValueError(f"{text!r} ends before it starts")
    return span


def format_timecode(seconds: Fraction) -> str:
    """`HH:MM:SS` with the decimals of `seconds`, to the nanosecond: `00:15:30.25`."""
    nanoseconds = round(seconds * 10**9)
    whole, rest = divmod(nanoseconds, 10**9)
    decimals = f".{rest:09d}".rstrip("0") if rest else ""
    return format_clock(Fraction(whole)) + decimals


def format_clock(seconds: Fraction) -> str:
    """`HH:MM:SS`, rounded down to the second, as in a record's `duration`."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}"


def format_subtitle_time(seconds: Fraction) -> str:
    """`HH:MM:SS,mmm`, rounded to the millisecond, as in SubRip."""
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
