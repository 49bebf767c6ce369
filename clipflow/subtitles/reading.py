"""Subtitle files of other programs read into words."""

import html
import re
from collections.abc import Sequence

from pysubs2 import Pysubs2Error, SSAEvent, SSAFile

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.transcript import LONGEST, Transcript, split_words, spread_words

_REMEDY = "Save it as SubRip in UTF-8, or remove it so that the video is listened to."
# Milliseconds: cues that begin closer together are said at once.
_AT_ONCE = 50
# Milliseconds a letter takes where a cue does not say when it ends: some 15 are said in a second.
_LETTER = 65
# pysubs2 takes a number that ends the file for the next cue's; this one is.
_LAST_NUMBER = "\n\n999999\n"
# SubRip's, WebVTT's and ASS's: anything else in <…> or {…} is said.
_TAG = re.compile(
    r"< */? *(?:(?:[biusc]|ruby|rt)(?:\.[^\s<>]*)?|(?:font|span|v|lang)(?:[.\s][^<>]*)?) *>"
    r"|<[\d:.]+>|\{\\[^{}]*\}",
    re.IGNORECASE,
)
# Line ends and wide blanks of HTML and ASS; in a path \N is none.
_BLANK = re.compile(r"<[bB][rR]/?>|\\[Nh]")
_PATH = re.compile(r"(?<!\S)(?:[A-Za-z]:\\|\\\\)\S*")
_ENTITY = re.compile(r"&(?:#\d+|#x[\da-f]+|[a-z][a-z\d]*);", re.IGNORECASE)
_WITHOUT_HOURS = re.compile(r"(?<![\d:.,])(?=\d\d:\d\d[.,]\d)")
# What stands for a backslash in pysubs2, which takes \N for its own line end.
_BACKSLASH = "\0"


def read_subtitles(content: bytes, name: str, language: str | None = None) -> Transcript:
    """The words of the subtitles in `content`, each cue's time shared out by their lengths.

    Cues may lie in any order; one that overlaps the next ends where that begins. Raises
    InvalidInputError, with `name`, where nothing in it can be read.
    """
    text = _subrip(_text(content, name).splitlines()).replace("\\", _BACKSLASH) + _LAST_NUMBER
    try:
        events = SSAFile.from_string(text, format_="srt", keep_html_tags=True).events
    except (Pysubs2Error, ValueError) as error:
        raise InvalidInputError(f"{name} cannot be read: {error}.", _REMEDY) from None
    if any(not 0 <= time <= LONGEST * 1000 for e in events for time in (e.start, e.end)):
        raise InvalidInputError(f"{name} has a cue later than {LONGEST // 3600} hours.", _REMEDY)
    said = [(event, split_words(_said(event.text))) for event in events]
    words = [
        word
        for texts, start, end in _in_turn([(event, texts) for event, texts in said if texts])
        for word in spread_words(texts, start / 1000, end / 1000)
    ]
    if not words:
        raise InvalidInputError(f"{name} holds no subtitle.", _REMEDY)
    return Transcript(tuple(words), language)


def _text(content: bytes, name: str) -> str:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise InvalidInputError(f"{name} is not in UTF-8.", _REMEDY) from None


def _subrip(lines: Sequence[str]) -> str:
    """The lines with hours in each time; of WebVTT the cues alone, without names, notes, styles."""
    text = "\n".join(_WITHOUT_HOURS.sub("00:", line) if "-->" in line else line for line in lines)
    if not text.startswith("WEBVTT"):
        return text
    blocks = re.split(r"\n\s*\n", text)
    return "\n\n1\n".join(re.sub(r"\A.*\n(?=.*-->)", "", b) for b in blocks if "-->" in b)


def _said(text: str) -> str:
    """A cue's text as pysubs2 holds it, without tags, its entities as what they mean."""
    text = _TAG.sub("", text.replace("\\N", "\n").replace(_BACKSLASH, "\\"))
    blank = "".join(
        part if _PATH.fullmatch(part) else _BLANK.sub(" ", part)
        for part in re.split(r"(\s+)", text)
    )
    return _ENTITY.sub(lambda found: html.unescape(found[0]), blank)


def _in_turn(said: Sequence[tuple[SSAEvent, list[str]]]) -> list[tuple[list[str], int, int]]:
    """Texts with their start and end in milliseconds, one after the other."""
    turns: list[tuple[list[str], int, int]] = []
    for event, texts in sorted(said, key=lambda one: one[0].start):
        guessed = min(event.start + _LETTER * len("".join(texts)), LONGEST * 1000)
        end = event.end if event.end > event.start else guessed
        if turns and event.start - turns[-1][1] < _AT_ONCE:
            before, start, other_end = turns[-1]
            same = before[-len(texts) :] == texts
            turns[-1] = (before if same else before + texts, start, max(end, other_end))
        else:
            turns.append((texts, event.start, end))
    starts = [start for _, start, _ in turns[1:]]
    return (
        [
            (texts, start, min(end, following))
            for (texts, start, end), following in zip(turns, [*starts, turns[-1][2]], strict=True)
        ]
        if turns
        else []
    )
