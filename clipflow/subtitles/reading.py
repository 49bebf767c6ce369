"""Subtitle files and transcripts of other programs, read into words.

The files are SubRip, WebVTT, and the JSON of Whisper, WhisperX, whisper.cpp, Deepgram, and clipflow
itself:

| program | words | text |
| --- | --- | --- |
| Whisper | `segments[].words[]`: `word` with its blank, `probability` | `segments[]` |
| OpenAI | `words[]`: `word`; the text of `segments[]` has their punctuation | `segments[]` |
| WhisperX | `segments[].words[]`: `word`, `score`, `speaker`; times may be missing | `segments[]` |
| whisper.cpp | `transcription[].tokens[]`: `text`, `p`, `offsets` in ms | `transcription[]` |
| Deepgram | `results.channels[].alternatives[0].words[]`: `punctuated_word`, `confidence` | |
| clipflow | a list: `word`, `start`, `end`, `score`, `speaker` | |
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import count
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import describe_errors, parse_json
from clipflow.domain.post_text import plain_line
from clipflow.domain.transcript import (
    LONGEST,
    PartialWord,
    Seconds,
    Transcript,
    Word,
    fill_times,
    read_words,
    split_words,
    spread_words,
)
from clipflow.subtitles.cue_files import REMEDY, FileCue, parse_cues
from clipflow.subtitles.cue_words import words_of_cues
from clipflow.subtitles.sound_descriptions import said_parts
from clipflow.subtitles.speaker_labels import speaker_name

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
    transcript = replace(transcript, words=tuple(_plain_words(transcript.words)))
    if not transcript.words:
        raise InvalidInputError(f"{name} has no words that are spoken.", REMEDY)
    return transcript


def _plain_words(words: Iterable[Word]) -> Iterator[Word]:
    """The words without control characters and without those that reorder others.

    Editors of Arabic and Hebrew put the latter around rows. In a single word, which lacks their
    end, they would reorder what follows it in texts and on pages.
    """
    for word in words:
        text = plain_line(word.text, "")
        speaker = plain_line(word.speaker or "") or None
        if text and (text, speaker) != (word.text, word.speaker):
            yield word.model_copy(update={"text": text, "speaker": speaker})
        elif text:
            yield word


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


_TAG = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")


def _as_text(value: object) -> object:
    """Deepgram's speakers are numbers, and whisper.cpp's are digits or `?`."""
    if isinstance(value, str) and not value.isdigit():
        return speaker_name(value)
    is_number = isinstance(value, int | str) and not isinstance(value, bool)
    return f"Speaker {value}" if is_number else value


Score = Annotated[float | None, Field(allow_inf_nan=False)]
Speaker = Annotated[str | None, BeforeValidator(_as_text)]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _JsonWord(_Shape):
    word: str
    punctuated_word: str | None = None
    start: Seconds | None = None
    end: Seconds | None = None
    score: Score = None
    probability: Score = None
    confidence: Score = None
    speaker: Speaker = None

    @property
    def text(self) -> str:
        return self.punctuated_word or self.word

    @property
    def certainty(self) -> float | None:
        known = (self.score, self.probability, self.confidence)
        return next((round(value, 3) for value in known if value is not None), None)


class _Segment(_Shape):
    start: Seconds
    end: Seconds
    text: str = ""
    words: list[_JsonWord] | None = None
    speaker: Speaker = None


class _Whisper(_Shape):
    segments: list[_Segment] = []
    words: list[_JsonWord] = []
    text: str = ""
    language: str | None = None


class _Offsets(_Shape):
    start: Annotated[int, Field(alias="from", ge=0, le=LONGEST * 1000)]
    end: Annotated[int, Field(alias="to", ge=0, le=LONGEST * 1000)]


class _CppToken(_Shape):
    text: str
    offsets: _Offsets | None = None
    p: Score = None


class _CppSegment(_Shape):
    offsets: _Offsets
    text: str
    speaker: Speaker = None
    tokens: list[_CppToken] = []


class _CppResult(_Shape):
    language: str | None = None


class _WhisperCpp(_Shape):
    transcription: list[_CppSegment]
    result: _CppResult = _CppResult()


class _Alternative(_Shape):
    words: list[_JsonWord]


class _Channel(_Shape):
    alternatives: Annotated[list[_Alternative], Field(min_length=1)]
    detected_language: str | None = None


class _DeepgramResults(_Shape):
    channels: list[_Channel]


class _Deepgram(_Shape):
    results: _DeepgramResults


_AnyWord = TypeVar("_AnyWord", _JsonWord, Word)


def read_transcript_json(text: str, name: str, language: str | None = None) -> Transcript:
    """The words in `text`; which program wrote it follows from its fields.

    Raises InvalidInputError naming `name` and the fields at fault, or if no program is known
    that writes such a file.
    """
    value = parse_json(text, name, REMEDY)
    if isinstance(value, list):
        own = _said(read_words(text, name))
        return Transcript(tuple(w.model_copy(update={"text": part}) for w, part in own), language)
    fields = value if isinstance(value, dict) else {}
    try:
        # OpenAI's may have `words` only; AssemblyAI's `words` have other units and no `duration`.
        if "segments" in fields or {"words", "text", "duration"} <= fields.keys():
            return _of_whisper(_Whisper.model_validate(value), name, language)
        if "transcription" in fields:
            return _of_whisper_cpp(_WhisperCpp.model_validate(value), name, language)
        # Amazon Transcribe has `results` too, of another shape.
        if isinstance(fields.get("results"), dict) and "channels" in fields["results"]:
            return _of_deepgram(_Deepgram.model_validate(value), language)
    except ValidationError as error:
        raise InvalidInputError(f"{name} is not valid: {describe_errors(error)}.", REMEDY) from None
    raise InvalidInputError(
        f"{name} is not the JSON of Whisper, WhisperX, whisper.cpp, Deepgram or clipflow.", REMEDY
    )


def _of_whisper(found: _Whisper, name: str, language: str | None) -> Transcript:
    tag = language or _tag(found.language)
    segments = found.segments
    if found.words and not any(segment.words for segment in segments):
        segments = _with_words(segments, found.words, found.text)
    if not any(segment.words for segment in segments):
        cues = [_cue(n, s.start, s.end, s.text) for n, s in enumerate(segments, 1)]
        words = words_of_cues(cues, name, tag)
        return Transcript(tuple(_spoken_by(words, segments)), tag)
    timed = [word for segment in segments for word in _words_of_segment(segment)]
    return Transcript(_in_turn(timed), tag)


def _with_words(
    segments: Sequence[_Segment], words: Sequence[_JsonWord], text: str
) -> list[_Segment]:
    """The segments with the words of their texts, each with the time of the same one of `words`.

    OpenAI's `words` have no punctuation, but the texts do. A word that only a text has gets no
    time. Without segments, one has the whole `text`.
    """
    timed = [
        part
        for word in words
        if word.start is not None and word.end is not None
        for part in spread_words(split_words(word.text), word.start, word.end)
    ]
    if not segments and timed:
        segments = [_Segment(start=timed[0].start, end=timed[-1].end, text=text)]
    texts = [split_words(segment.text) for segment in segments]
    spoken = [_bare(word) for one in texts for word in one]
    matcher = SequenceMatcher(None, spoken, [_bare(word.text) for word in timed])
    known = {
        block.a + n: timed[block.b + n]
        for block in matcher.get_matching_blocks()
        for n in range(block.size)
    }
    place = count()
    return [
        segment.model_copy(
            update={"words": [_json_word(word, known.get(next(place))) for word in one]}
        )
        for segment, one in zip(segments, texts, strict=True)
    ]


def _json_word(text: str, timed: Word | None) -> _JsonWord:
    if timed is None:
        return _JsonWord(word=text)
    return _JsonWord(word=text, start=timed.start, end=timed.end)


def _bare(text: str) -> str:
    """`text` in the form in which words are compared: letters and digits only."""
    return "".join(filter(str.isalnum, text.casefold())) or text


def _cue(number: int, start: float, end: float, text: str) -> FileCue:
    rows = tuple(row for row in re.split(r"[\r\n]+", text) if row.strip())
    return FileCue(f"segment {number}", round(start * 1000), round(end * 1000), rows)


def _spoken_by(words: Sequence[Word], segments: Sequence[_Segment]) -> Iterator[Word]:
    """`words` of segments without words of their own, with the speakers of their segments."""
    spoken = sorted((s for s in segments if s.speaker), key=lambda segment: segment.start)
    place = 0
    for word in words:
        middle = (word.start + word.end) / 2
        while place < len(spoken) and spoken[place].end < middle:
            place += 1
        inside = place < len(spoken) and spoken[place].start <= middle
        speaker = spoken[place].speaker if inside else word.speaker
        yield word.model_copy(update={"speaker": speaker})


def _words_of_segment(segment: _Segment) -> list[Word]:
    """Its words with all their times; a word that begins without a blank continues the last one."""
    # WhisperX has no words for a segment that it cannot align.
    words = segment.words or [_JsonWord(word=word) for word in split_words(segment.text)]
    known = _said(words)
    joins = any(word.text[0].isspace() for word, _ in known)
    parts: list[PartialWord] = []
    speakers: list[str | None] = []
    for word, text in known:
        if joins and parts and not word.text[0].isspace():
            before = parts[-1]
            parts[-1] = PartialWord(before.text + text, before.start, word.end, before.score)
            continue
        parts.append(PartialWord(text, word.start, word.end, word.certainty))
        speakers.append(word.speaker or segment.speaker)
    timed = fill_times(parts, segment.start, segment.end)
    return [
        word.model_copy(update={"speaker": speaker})
        for word, speaker in zip(timed, speakers, strict=True)
    ]


def _of_whisper_cpp(found: _WhisperCpp, name: str, language: str | None) -> Transcript:
    segments = [
        _Segment(
            start=one.offsets.start / 1000,
            end=one.offsets.end / 1000,
            text=one.text,
            speaker=one.speaker,
            words=words,
        )
        for one, words in zip(found.transcription, _cpp_words(found.transcription), strict=True)
        # Without words, its tokens continue the word of the segment before.
        if words or words is None
    ]
    return _of_whisper(_Whisper(segments=segments, language=found.result.language), name, language)


def _cpp_words(segments: Sequence[_CppSegment]) -> list[list[_JsonWord] | None]:
    """The words that each segment's tokens form; None if the tokens are not its text.

    A token that begins without a blank continues a word, also that of the segment before.
    """
    found: list[list[_JsonWord] | None] = []
    last: list[_JsonWord] | None = None
    for segment in segments:
        # Special tokens, such as [_BEG_] and [_TT_50], are not text.
        tokens = [token for token in segment.tokens if not token.text.startswith("[_")]
        if not tokens or "".join(token.text for token in tokens).split() != segment.text.split():
            found.append(None)
            last = None
            continue
        words: list[_JsonWord] = []
        for token in tokens:
            end = token.offsets.end / 1000 if token.offsets else None
            text = token.text.strip()
            before = last[-1] if last and text and not token.text[0].isspace() else None
            if (
                last
                and before
                and len(split_words(before.word + text)) == len(split_words(before.word))
            ):
                last[-1] = before.model_copy(
                    update={
                        "word": before.word + text,
                        "end": end,
                        "probability": _lower(before.probability, token.p),
                    }
                )
            elif text:
                start = token.offsets.start / 1000 if token.offsets else None
                words.append(_JsonWord(word=text, start=start, end=end, probability=token.p))
                last = words
        found.append(words)
    return found


def _lower(one: float | None, other: float | None) -> float | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _of_deepgram(found: _Deepgram, language: str | None) -> Transcript:
    """Deepgram's words; with several channels, each is a speaker of its own."""
    channels = found.results.channels
    words: list[Word] = []
    for number, channel in enumerate(channels):
        for word, text in _said(channel.alternatives[0].words):
            speaker = word.speaker or (f"Channel {number}" if len(channels) > 1 else None)
            start = word.start if word.start is not None else (words[-1].end if words else 0.0)
            end = max(start, word.end if word.end is not None else start)
            words.append(
                Word(text=text, start=start, end=end, score=word.certainty, speaker=speaker)
            )
    detected = next((one.detected_language for one in channels if one.detected_language), None)
    return Transcript(_in_turn(words), language or _tag(detected))


def _said(words: Sequence[_AnyWord]) -> list[tuple[_AnyWord, str]]:
    """`words` and what is said of each, without those of which nothing is."""
    parts = said_parts(word.text for word in words)
    return [(word, part) for word, part in zip(words, parts, strict=True) if part]


def _in_turn(words: Sequence[Word]) -> tuple[Word, ...]:
    return tuple(sorted(words, key=lambda word: word.start))


def _tag(value: Any) -> str | None:
    return value if isinstance(value, str) and _TAG.fullmatch(value) and len(value) < 6 else None
