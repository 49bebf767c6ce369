"""Subtitle files of other programs, read into words: SubRip, WebVTT and transcripts as JSON."""

import re

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.transcript import Transcript
from clipflow.subtitles.cue_files import REMEDY, parse_cues
from clipflow.subtitles.cue_words import words_of_cues
from clipflow.subtitles.transcript_json import read_transcript_json

# An object or a list of objects: `{1}{25}` and `[00:01]` begin subtitles of other kinds.
_JSON = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[{\]])")
_ENCODING = "Save it in UTF-8, or remove the file, so that the video is transcribed."


def read_subtitles(content: bytes, name: str, language: str | None = None) -> Transcript:
    """The words of the subtitles in `content`, whose format is detected.

    Words have the times that the file gives them, or share those of their cue by their lengths.
    Cues may lie in any order; one that overlaps the next ends where that begins. What rolling
    captions repeat is said once, and speakers' labels become the words' `speaker`.

    `language` is a tag such as `pt-BR`; without it the transcript has the file's own where it
    names one. Raises InvalidInputError naming `name` and, of SubRip and WebVTT, the line at fault.
    """
    text = _decoded(content, name)
    if _JSON.match(text) or name.endswith(".json"):
        transcript = read_transcript_json(text, name, language)
    else:
        transcript = Transcript(
            tuple(words_of_cues(parse_cues(text, name), name, language)), language
        )
    if not transcript.words:
        raise InvalidInputError(f"{name} has no words that are spoken.", REMEDY)
    return transcript


def _decoded(content: bytes, name: str) -> str:
    encoding = "utf-8-sig"
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif content[1:2] == b"\0":
        encoding = "utf-16-le"
    elif content[:1] == b"\0":
        encoding = "utf-16-be"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise InvalidInputError(f"{name} is not in UTF-8.", _ENCODING) from None
    if "\0" in text:
        raise InvalidInputError(f"{name} is not a text file.", _ENCODING)
    return text
