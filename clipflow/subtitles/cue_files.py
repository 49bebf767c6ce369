"""Cues of SubRip and WebVTT files: parses them strictly, and writes a transcript as cues.

Other programs skip what they cannot read, or show it as text. Cues are burned into pictures, so a
line that belongs to no cue is an error here, with the line's number. A cue that is written is what
is shown at a time, in at most two rows of about equal width.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from html import escape
from math import inf
from typing import NamedTuple

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.timecode import format_subtitle_time
from clipflow.domain.transcript import (
    LONGEST,
    Transcript,
    Word,
    joined,
    lines,
    spread_words,
    words_json,
)

REMEDY = (
    "Correct it, or export the file again; or remove the file, so that the video is transcribed."
)
# Hours may have any number of digits, so that a time beyond the limit is refused as what it is.
_CLOCK = r"(?:(\d{1,6}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?"
# What may stand behind the times: WebVTT's cue settings, and SubRip's coordinates (`X1:40`).
_SETTINGS = r"(?:[ \t]+[A-Za-z][A-Za-z0-9]*:[^ \t]+)*"
_TIMES = re.compile(rf"\s*{_CLOCK}[ \t]*-->[ \t]*{_CLOCK}{_SETTINGS}\s*", re.ASCII)
_NUMBER = re.compile(r"\s*\d{1,9}\s*")
# Times in forms of other programs, alone on a line: read as text they would be drawn.
_ONLY_TIMES = re.compile(
    r"[-+\s\[({]*\d{1,6}:\d{1,2}:\d{1,2}(?:[.,:;]\d{1,3})?[\s\])}]*"
    r"(?:[-–—→=>,;/\s]+\d{1,6}:\d{1,2}:\d{1,2}(?:[.,:;]\d{1,3})?[\s\])}]*)*",
    re.ASCII,
)
_ARROW = "-->"
_NOT_CUES = re.compile(r"(?:NOTE|STYLE|REGION)(?:[ \t].*)?")
_EXCERPT = 60
# Characters: no one says more in one row, and what is read from a row takes its time.
_LONGEST_ROW = 20_000


@dataclass(frozen=True)
class FileCue:
    """A cue as its file has it: where (`line 7`), its times in milliseconds, its rows with tags."""

    place: str
    start: int
    end: int
    rows: tuple[str, ...]


def parse_cues(text: str, name: str) -> list[FileCue]:
    """The cues of a SubRip or WebVTT file in the file's order.

    Raises InvalidInputError with `name` and the line's number for the first line that is not part
    of a cue, and for a time later than `LONGEST`.
    """
    # A byte-order mark in the middle is what is left of files that were joined.
    lines = re.split(r"\r*\n|\r", text.replace("\ufeff", ""))
    reader = _Reader(lines, name, lines[0].split(" ")[0].split("\t")[0] == "WEBVTT")
    return reader.cues()


def is_only_times(text: str) -> bool:
    """Whether `text` consists of times, in any form, and separators only."""
    return bool(_ONLY_TIMES.fullmatch(text[: _LONGEST_ROW + 1]))


class _Reader:
    """Reads from the top; `at` is the place of the next line, counted from 0."""

    def __init__(self, lines: list[str], name: str, is_webvtt: bool) -> None:
        self.lines = lines
        self.name = name
        self.is_webvtt = is_webvtt
        self.at = 0
        self.number: int | None = None

    def cues(self) -> list[FileCue]:
        if self.is_webvtt:
            # The header ends at the first empty line, or at a cue that follows without one.
            self._skip_block()
        found = []
        while self._skip_blank_lines():
            if self.is_webvtt and _NOT_CUES.fullmatch(self.lines[self.at]):
                self._skip_block()
            else:
                found.append(self._cue())
        return found

    def _skip_blank_lines(self) -> bool:
        while self.at < len(self.lines) and not self.lines[self.at].strip():
            self.at += 1
        return self.at < len(self.lines)

    def _skip_block(self) -> None:
        while self.at < len(self.lines) and self.lines[self.at] and not self._has_times(self.at):
            self.at += 1

    def _cue(self) -> FileCue:
        if not self._has_times(self.at):
            self._read_identifier()
        match = _TIMES.fullmatch(self.lines[self.at])
        assert match
        place = f"line {self.at + 1}"
        start, end = self._time(match.group(1, 2, 3, 4)), self._time(match.group(5, 6, 7, 8))
        self.at += 1
        return FileCue(place, start, end, self._rows())

    def _read_identifier(self) -> None:
        """Go past a line that is a cue's number or, in WebVTT, its name."""
        line, times = self.lines[self.at], self.at + 1
        is_number = _NUMBER.fullmatch(line)
        while is_number and times < len(self.lines) and not self.lines[times].strip():
            times += 1
        if not (self._has_times(times) and (is_number or self.is_webvtt) and _ARROW not in line):
            raise self._refusal(times if is_number and self._is_like_times(times) else self.at)
        self.number = int(line) if is_number else None
        self.at = times

    def _rows(self) -> tuple[str, ...]:
        """The cue's text, to the line before the next empty one or the next cue."""
        rows: list[str] = []
        if not self.is_webvtt:
            # Converters leave an empty row above the text where the row was blank in the source.
            first = self.at
            if self._skip_blank_lines() and self._begins_cue(self.at):
                self.at = first
        while self.at < len(self.lines) and not self._ends_text():
            if self._is_like_times(self.at):
                raise self._refusal(self.at)
            if len(self.lines[self.at]) > _LONGEST_ROW:
                raise self._refusal(self.at)
            rows.append(self.lines[self.at])
            self.at += 1
        return tuple(row for row in rows if row.strip())

    def _ends_text(self) -> bool:
        line = self.lines[self.at]
        if not line or self._has_times(self.at):
            return True
        if not (_NUMBER.fullmatch(line) and self._has_times(self.at + 1)):
            return False
        # A number right above the next cue's times, with no empty line between the two cues.
        if not self.lines[self.at - 1].strip() or int(line) == (self.number or 0) + 1:
            return True
        if self.number is not None:
            raise self._refusal(self.at)
        # No cue has a number here, so this one is said.
        return False

    def _begins_cue(self, at: int) -> bool:
        if self._has_times(at):
            return True
        return bool(_NUMBER.fullmatch(self.lines[at])) and self._has_times(at + 1)

    def _has_times(self, at: int) -> bool:
        # Most lines are text: the arrow is looked for first because that is quick.
        return (
            at < len(self.lines)
            and _ARROW in self.lines[at]
            and bool(_TIMES.fullmatch(self.lines[at]))
        )

    def _is_like_times(self, at: int) -> bool:
        line = self.lines[at] if at < len(self.lines) else ""
        return _ARROW in line or is_only_times(line)

    def _time(self, parts: tuple[str | None, ...]) -> int:
        hours, minutes, seconds = (int(part or 0) for part in parts[:3])
        if minutes > 59 or seconds > 59:
            raise self._refusal(self.at)
        whole = hours * 3600 + minutes * 60 + Fraction(f"{seconds}.{parts[3] or 0}")
        if whole > LONGEST:
            raise InvalidInputError(
                f"{self.name}, line {self.at + 1}, has a time later than {LONGEST // 3600} hours.",
                REMEDY,
            )
        return round(whole * 1000)

    def _refusal(self, at: int) -> InvalidInputError:
        line = " ".join(self.lines[at].split())
        excerpt = line if len(line) <= _EXCERPT else f"{line[:_EXCERPT]}…"
        times = self._is_like_times(at)
        why = "has no times that can be read" if times else "is not part of a cue"
        if len(self.lines[at]) > _LONGEST_ROW:
            why = f"has more than {_LONGEST_ROW} characters"
        return InvalidInputError(f"{self.name}, line {at + 1}, {why}: {excerpt!r}.", REMEDY)


# Columns of a row, and rows of a cue: the usual limits of broadcasters' subtitle guides.
COLUMNS, ROWS = 42, 2
# The shortest duration of a cue in seconds: if the next cue leaves room for it, and in any case.
_LINGER, _SHORTEST = 0.7, 0.05
# The value, in columns, of a break at a comma, and of each second of silence at a break.
_COMMA, _SILENCE = 30, 40
# A line of more words is damaged input, and is split in the middle.
_MANY_WORDS = 120
_COMMAS = ",;:—–،؛、，；："


class Cue(NamedTuple):
    """What is shown at `start ≤ t < end`, in seconds; the text's rows are its lines."""

    start: float
    end: float
    text: str
    speaker: str | None = None


def srt_text(transcript: Transcript) -> str:
    """The transcript's cues as a SubRip file."""
    # A row that held an arrow would be read as a cue's times.
    return "\n".join(
        f"{number}\n{_srt_time(cue.start)} --> {_srt_time(cue.end)}\n{_without_arrows(cue.text)}\n"
        for number, cue in enumerate(cues(transcript), 1)
    )


def vtt_text(transcript: Transcript) -> str:
    """The transcript's cues as a WebVTT file, each with its speaker if one is known."""
    parts = (
        f"{_vtt_time(cue.start)} --> {_vtt_time(cue.end)}\n{_voice(cue.speaker)}"
        f"{escape(_without_arrows(cue.text), quote=False)}\n"
        for cue in cues(transcript)
    )
    return "\n".join(["WEBVTT\n", *parts])


def _srt_time(seconds: float) -> str:
    return format_subtitle_time(Fraction(str(seconds)))


def _vtt_time(seconds: float) -> str:
    return _srt_time(seconds).replace(",", ".")


def _without_arrows(text: str) -> str:
    return text.replace("-->", "→")


def _voice(speaker: str | None) -> str:
    name = " ".join((speaker or "").split())
    return f"<v {escape(_without_arrows(name), quote=False)}>" if name else ""


def cues(transcript: Transcript) -> list[Cue]:
    """The transcript's words as cues: in order, none overlapping the next, no word left out.

    A cue ends with a sentence, at a pause or when the speaker changes. What is wider than two rows
    is split, preferably at commas and silences.
    """
    parts = [
        part
        for line in lines(transcript.words, transcript.language)
        for part in _parted(tuple(piece for word in line.words for piece in _narrow(word)))
    ]
    starts: list[float] = []
    for part in parts:
        earliest = starts[-1] + _SHORTEST if starts else 0.0
        starts.append(round(max(part[0].start, earliest), 3))
    followings = [*starts[1:], inf][: len(parts)]
    return [
        Cue(
            start,
            round(min(max(part[-1].end, start + _LINGER), following), 3),
            _rows(part),
            part[0].speaker,
        )
        for part, start, following in zip(parts, starts, followings, strict=True)
    ]


def width(text: str) -> int:
    """Columns that `text` takes: 2 for a wide character, none for a mark on another."""
    return sum(_columns(character) for character in text)


@cache
def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _narrow(word: Word) -> list[Word]:
    """`word` in one piece, or in those that fit a row."""
    text = " ".join(word.text.split())
    if text == word.text and width(text) <= COLUMNS:
        return [word]
    pieces = [""]
    for character in text:
        if width(pieces[-1] + character) > COLUMNS:
            pieces.append("")
        pieces[-1] += character
    return [
        piece.model_copy(update={"speaker": word.speaker})
        for piece in spread_words([piece for piece in pieces if piece], word.start, word.end)
    ]


def _parted(words: tuple[Word, ...]) -> list[tuple[Word, ...]]:
    if len(words) > _MANY_WORDS:
        middle = len(words) // 2
        return [*_parted(words[:middle]), *_parted(words[middle:])]
    if not words or _fits(words):
        return [words] if words else []
    at = max(range(1, len(words)), key=lambda i: _worth(words[i - 1], words[i], words, i))
    return [*_parted(words[:at]), *_parted(words[at:])]


def _worth(before: Word, after: Word, words: Sequence[Word], at: int) -> float:
    """How good a break is before `words[at]`; even parts are better than uneven ones."""
    uneven = abs(width(joined(words[:at])) - width(joined(words[at:])))
    comma = _COMMA if before.text.endswith(tuple(_COMMAS)) else 0
    return comma + _SILENCE * max(0.0, after.start - before.end) - uneven


def _fits(words: Sequence[Word]) -> bool:
    return width(joined(words)) <= COLUMNS or _break(words) is not None


def _break(words: Sequence[Word]) -> int | None:
    """Before which word the second row begins; None if two rows are too few."""
    texts = [(joined(words[:at]), joined(words[at:])) for at in range(1, len(words))]
    widest = [max(width(upper), width(lower)) for upper, lower in texts]
    if not widest or min(widest) > COLUMNS:
        return None
    return widest.index(min(widest)) + 1


def _rows(words: Sequence[Word]) -> str:
    text = joined(words)
    if width(text) <= COLUMNS:
        return text
    at = _break(words)
    assert at is not None
    return f"{joined(words[:at])}\n{joined(words[at:])}"


def _plain_text(transcript: Transcript) -> str:
    return f"{transcript.text}\n" if transcript.words else ""


def _words_text(transcript: Transcript) -> str:
    return words_json(transcript.words)


# The function that writes each format, by the end of its files' names.
WRITERS: Mapping[str, Callable[[Transcript], str]] = {
    ".srt": srt_text,
    ".vtt": vtt_text,
    ".txt": _plain_text,
    ".words.json": _words_text,
}
