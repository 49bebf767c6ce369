"""A transcript as cues, and cues as the text of SubRip and WebVTT files.

A cue is what is shown at a time, in at most two rows of about equal width.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from html import escape
from math import inf
from typing import NamedTuple

from clipflow.domain.timecode import format_subtitle_time
from clipflow.domain.transcript import Transcript, Word, joined, lines, spread_words, words_json

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
