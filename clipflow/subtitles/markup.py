"""Tags of subtitles (SubRip, WebVTT, ASS, HTML): removed, or read as times and voices."""

import html
import re
from fractions import Fraction
from typing import NamedTuple

from clipflow.domain.timecode import format_subtitle_time
from clipflow.subtitles.cue_files import FileCue
from clipflow.subtitles.speaker_labels import speaker_name

# The tags of SubRip, WebVTT, ASS and HTML. Anything else in <…> is spoken (`List<String>`), unless
# it has an attribute or is closed in the same row.
_INLINE_NAMES = """
    a abbr b bdi bdo big c cite code del dfn em font i ins kbd lang mark q rp rt ruby s samp small
    span strike strong sub sup time tt u var
"""
_BLOCK_NAMES = """
    article aside blockquote body br center dd div dl dt figure footer h1 h2 h3 h4 h5 h6 head header
    hr html li main nav ol p pre section table tbody td tfoot th thead tr ul
"""
_INLINE, _BLOCKS = frozenset(_INLINE_NAMES.split()), frozenset(_BLOCK_NAMES.split())
_TAG = re.compile(
    r"< {0,3}(?P<end>/?) {0,3}(?P<name>[a-z][a-z0-9-]{0,15})(?:\.[^\s<>]*+)?"
    r"(?P<rest>\s[^<>]*+)?/? {0,3}>|\{\\[^{}]*+\}",
    re.IGNORECASE,
)
# Tags that may have anything behind their name; the others have attributes, unlike `a <b and b> c`.
_FREE = ("font", "span", "lang")
_ATTRIBUTES = re.compile(r"(?:\s+[\w:-]+\s*=\s*(?:\"[^\"]*+\"|'[^']*+'|[^\s\"'>]++))*+\s*/?\s*")
# WebVTT's time of the words behind it, and the beginning and end of a voice.
_MARK = re.compile(
    r"<((?:\d{1,4}:)?\d{1,2}:\d{2}[.,]\d{1,3})>|<v(?:\.[^\s<>]*+)?(?:\s([^<>]*+))?>|(</v>)",
    re.IGNORECASE | re.ASCII,
)
# A highlighted word, as Whisper writes it with `--highlight_words` and stable-ts in SubRip.
_HIGHLIGHT = re.compile(r"<(u|b|i|c|font)\b[^<>]{0,60}>([^<>]{1,100})</\1>", re.IGNORECASE)
# Line ends and wide blanks of ASS; in a path \N is none.
_BLANK = re.compile(r"\\[Nh]")
_PATH = re.compile(r"(?<!\S)(?:[A-Za-z]:\\|\\\\)\S*")
_ENTITY = re.compile(r"&(?:#\d+|#x[\da-f]+|[a-z][a-z\d]*);", re.IGNORECASE)


class TextPiece(NamedTuple):
    """Text of a row without tags; its time, in milliseconds, and its voice if tags give them."""

    time: int | None
    voice: str | None
    text: str


def voiced_rows(cue: FileCue) -> list[str]:
    """The cue's rows, each with the speaker that continues from the row before."""
    rows, voice = [], ""
    for row in cue.rows:
        rows.append(voice + row)
        for match in _MARK.finditer(row):
            if match[1] is None:
                voice = "" if match[3] else match[0]
    return rows


def pieces_of(row: str) -> list[TextPiece]:
    """The row's text without tags, in pieces: each with its own time and the voice that says it."""
    pieces: list[TextPiece] = []
    time, voice, at = None, None, 0
    for match in [*_MARK.finditer(row), None]:
        text = _plain(row[at : match.start() if match else len(row)])
        if text:
            pieces.append(TextPiece(time, voice, text))
            time = None
        if match is None:
            break
        at = match.end()
        if match[1]:
            time = _milliseconds(match[1])
        else:
            voice = speaker_name(_plain(match[2] or ""))
    return pieces


def without_highlight(text: str) -> tuple[str, int | None]:
    """`text` without the tags of its only highlight, and where that begins; None without one."""
    found = list(_HIGHLIGHT.finditer(text))
    if len(found) != 1:
        return text, None
    return text[: found[0].start()] + found[0][2] + text[found[0].end() :], found[0].start()


def time_tag(milliseconds: int) -> str:
    """WebVTT's tag for the time of the words behind it."""
    return f"<{format_subtitle_time(Fraction(milliseconds, 1000)).replace(',', '.')}>"


def _milliseconds(clock: str) -> int:
    *hours, minutes, seconds = re.split(r"[:]", clock.replace(",", "."))
    whole, _, decimals = seconds.partition(".")
    total = (int(hours[0]) if hours else 0) * 3600 + int(minutes) * 60 + int(whole)
    return total * 1000 + int(decimals.ljust(3, "0"))


def _plain(text: str) -> str:
    """`text` without tags, and with what its entities mean."""
    text = _without_tags(text)
    blank = "".join(
        part if _PATH.fullmatch(part) else _BLANK.sub(" ", part)
        for part in re.split(r"(\s+)", text)
    )
    return _ENTITY.sub(lambda found: html.unescape(found[0]), blank)


def _without_tags(text: str) -> str:
    """`text` without tags; those of paragraphs and the like become blanks."""
    if "<" not in text and "{" not in text:
        return text
    closed = {found["name"].lower() for found in _TAG.finditer(text) if found["end"]}

    def instead(found: re.Match[str]) -> str:
        if found["name"] is None:
            return ""
        name, rest = found["name"].lower(), found["rest"] or ""
        is_known = name in _INLINE or name in _BLOCKS or name in closed
        has_attributes = bool(_ATTRIBUTES.fullmatch(rest))
        if name not in _FREE and not (has_attributes and (is_known or "=" in rest)):
            return found[0]
        return " " if name in _BLOCKS else ""

    return _TAG.sub(instead, text)
