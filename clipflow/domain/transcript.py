"""The transcript of a video: words with their times, and their division into lines."""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Annotated

import sentencex
from pydantic import Field

from clipflow.domain.abbreviations import never_ends_sentence
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import Model, parse_json

# Seconds. A later time indicates damaged input.
LONGEST = 48 * 3600
Seconds = Annotated[float, Field(ge=0, le=LONGEST, allow_inf_nan=False)]

# Seconds of silence that end a line, as a full stop does.
PAUSE = 0.7
# Seconds. A longer line, as in speech without punctuation, is split at its longest silence.
_LONGEST_LINE = 15.0
_MANY_WORDS = 100
_SENTENCE_ENDS = tuple(".!?…。！？؟۔।")
# Seconds. Text that is longer, or has a longer pause, lacks full stops and is not a sentence.
_LONGEST_SENTENCE, _LONG_PAUSE = 30.0, 3.0
_VOWELS = frozenset("aeiouy")
# Characters that may follow a full stop in a sentence.
_CLOSING = "\"'”’»)]」』）"
# Scripts without spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han.
_UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3000, 0x30FF),
    (0x3400, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF00, 0xFFEF),
    (0x20000, 0x3FFFF),
)


class Word(Model):
    """One spoken word, with times in seconds from the video's first frame and a confidence from 0
    to 1."""

    text: Annotated[str, Field(alias="word", min_length=1)]
    start: Seconds
    end: Seconds
    score: float | None = None
    speaker: str | None = None

    def shifted(self, seconds: float) -> "Word":
        """The word, said `seconds` later."""
        times = {"start": round(self.start + seconds, 3), "end": round(self.end + seconds, 3)}
        return self.model_copy(update=times)


@dataclass(frozen=True)
class Transcript:
    """Every word of a video, in the order they are said, and the language (ISO 639-1), if known."""

    words: tuple[Word, ...]
    language: str | None = None

    @property
    def text(self) -> str:
        """The words alone, a line for each sentence."""
        return "\n".join(line.text for line in lines(self.words, self.language))

    def within(self, start: float, end: float) -> "Transcript":
        """The words whose middle is in `start ≤ t < end`, with times from `start`."""
        inside = (word for word in self.words if start <= (word.start + word.end) / 2 < end)
        shifted = (
            word.model_copy(
                update={
                    "start": round(max(0.0, word.start - start), 3),
                    "end": round(min(end, word.end) - start, 3),
                }
            )
            for word in inside
        )
        return Transcript(tuple(shifted), self.language)


@dataclass(frozen=True)
class Line:
    """A sentence, or the words between two pauses. Never empty."""

    words: tuple[Word, ...]

    @property
    def start(self) -> float:
        return self.words[0].start

    @property
    def end(self) -> float:
        return self.words[-1].end

    @property
    def text(self) -> str:
        return joined(self.words)


def lines(words: Sequence[Word], language: str | None = None) -> list[Line]:
    """The lines of `words`: sentences, split at pauses, where the speaker changes, and if too
    long."""
    return [Line(part) for group in _groups(words, language, PAUSE) for part in _split(group)]


def sentences(words: Sequence[Word], language: str | None = None) -> list[Line]:
    """The sentences of `words`. Unlike `lines`, they are not split at pauses.

    Text without full stops nearby, such as an unpunctuated transcript, is split into lines.
    """
    found: list[Line] = []
    for group in _groups(words, language, _LONG_PAUSE):
        length = group[-1].end - group[0].start
        is_whole = length <= _LONGEST_SENTENCE and len(group) <= _MANY_WORDS
        found += [Line(group)] if is_whole else lines(group, language)
    return found


def _groups(
    words: Sequence[Word], language: str | None, pause: float
) -> Iterator[tuple[Word, ...]]:
    """Words between full stops, changes of speaker and silences of at least `pause` seconds."""
    group: list[Word] = []
    for word, following in pairwise([*words, None]):
        assert word
        before = group[-1] if group else None
        group.append(word)
        if (
            following is None
            or word.speaker != following.speaker
            or following.start - word.end >= pause
            or ends_sentence(word, following, before, language)
        ):
            yield tuple(group)
            group = []


def joined(words: Sequence[Word]) -> str:
    """The words as text, with spaces where their script has them."""
    text = ""
    for word in words:
        text += word.text if not text or _is_unspaced(text[-1], word.text[0]) else f" {word.text}"
    return text


def ends_sentence(
    word: Word, following: Word | None, before: Word | None = None, language: str | None = None
) -> bool:
    """Whether a sentence ends with `word`. The full stop of an abbreviation does not end one."""
    bare = word.text.rstrip(_CLOSING)
    if not bare.endswith(_SENTENCE_ENDS):
        return False
    if not bare.endswith(".") or following is None:
        return True
    return _is_full_stop(
        (language or "en").lower().split("-")[0],
        before.text if before else "",
        bare,
        following.text,
    )


def is_abbreviation(word: Word, language: str | None = None) -> bool:
    """Whether the full stop at the end of `word` belongs to it, as in "etc."."""
    following = word.model_copy(update={"text": "and"})
    return word.text.endswith(".") and not ends_sentence(word, following, None, language)


@lru_cache(maxsize=4096)
def _is_full_stop(language: str, before: str, word: str, following: str) -> bool:
    """Whether the full stop at the end of `word` ends a sentence, by the language's abbreviations.

    Only the adjacent words are considered, because in speech an unclosed quotation mark or a
    sentence of a thousand words must not affect others.
    """
    if never_ends_sentence(language, before, word, following):
        return False
    # A decimal number that was split: `3. 5 million`.
    if word[-2:-1].isdigit() and following[:1].isdigit():
        return False
    # Some abbreviations, such as Me. for Maine, are ordinary words in lower case.
    is_word = word[:-1].isalpha() and word.islower() and bool(_VOWELS & set(word))
    if word.endswith("..") or (is_word and following[:1].isupper()):
        return True
    head = f"{before} {word} ".lstrip()
    parts = list(sentencex.segment(language, head + following))
    ends = accumulate(map(len, parts))
    return len(head) in ends or len(head) - 1 in ends


def _split(words: tuple[Word, ...]) -> list[tuple[Word, ...]]:
    if len(words) < 2 or words[-1].end - words[0].start <= _LONGEST_LINE:
        return [words]
    # Of equal silences the one in the middle is chosen, so both parts get shorter. With very many
    # words, those near an end are excluded, or silences that only grow would split off single
    # words.
    edge = len(words) // 4 if len(words) > _MANY_WORDS else 1
    at = max(
        range(edge, len(words) - edge + 1),
        key=lambda i: (words[i].start - words[i - 1].end, -abs(2 * i - len(words))),
    )
    return [*_split(words[:at]), *_split(words[at:])]


def is_unspaced(character: str) -> bool:
    """Whether the character's script is written without spaces between words."""
    code = ord(character)
    # Nearly all characters of most languages come before the first of these scripts.
    return code >= _UNSPACED[0][0] and any(first <= code <= last for first, last in _UNSPACED)


def _is_unspaced(before: str, after: str) -> bool:
    return is_unspaced(before) and is_unspaced(after)


def words_json(words: Iterable[Word]) -> str:
    """`words` as a JSON list, one per line."""
    rows = (json.dumps(word.model_dump(), ensure_ascii=False) for word in words)
    return "[\n" + ",\n".join(rows) + "\n]\n"


def read_words(text: str | bytes, name: str) -> tuple[Word, ...]:
    """Parses a JSON list of words. Raises InvalidInputError with `name` and the first invalid
    word."""
    rows = parse_json(text, name)
    if not isinstance(rows, list):
        raise InvalidInputError(f"{name} is not a list of words.")
    return tuple(Word.read(row, f"{name}: word {place}") for place, row in enumerate(rows, 1))


# Unicode's categories of punctuation that belongs to the next character.
_OPENING = ("Ps", "Pi")
# Vowels of Thai and Lao that are written before their consonant (Unicode's property
# Logical_Order_Exception), and vowels and marks that are written after it. They are not separated.
_LEADING_VOWELS = frozenset("\u0e40\u0e41\u0e42\u0e43\u0e44\u0ec0\u0ec1\u0ec2\u0ec3\u0ec4")
_FOLLOWING_VOWELS = frozenset(
    "\u0e2f\u0e30\u0e32\u0e33\u0e45\u0e46\u0eaf\u0eb0\u0eb2\u0eb3\u0ebd\u0ec6"
)


@dataclass(frozen=True)
class PartialWord:
    """A word whose times, in seconds, may be unknown."""

    text: str
    start: float | None = None
    end: float | None = None
    score: float | None = None


def split_words(text: str) -> list[str]:
    """The words of `text`; in scripts without spaces, the characters with their punctuation."""
    return [word for token in text.split() for word in _characters(token)]


def _characters(token: str) -> list[str]:
    words = [token[0]]
    for before, character in pairwise(token):
        if _starts_word(before, character):
            words.append(character)
        else:
            words[-1] += character
    return words


def _starts_word(before: str, character: str) -> bool:
    if not (is_unspaced(before) or is_unspaced(character)):
        return False
    if unicodedata.category(before) in _OPENING:
        return False
    if before in _LEADING_VOWELS or character in _FOLLOWING_VOWELS:
        return False
    category = unicodedata.category(character)
    return category[0] in "LN" or category in _OPENING


def spread_words(texts: Sequence[str], start: float, end: float) -> list[Word]:
    """`texts` as words; the time from `start` to `end` is divided by their lengths."""
    total = sum(map(len, texts)) or 1
    ends = [0, *accumulate(map(len, texts))]
    times = [round(start + max(0.0, end - start) * at / total, 3) for at in ends]
    return [
        Word(text=text, start=first, end=last)
        for text, (first, last) in zip(texts, pairwise(times), strict=True)
    ]


def fill_times(recognized: Sequence[PartialWord], start: float, end: float) -> list[Word]:
    """`recognized` as words; those without times share the time between their neighbours.

    `start` and `end` limit the words before the first known time and after the last one.
    """
    words: list[Word] = []
    untimed: list[PartialWord] = []
    for one in recognized:
        if one.start is None or one.end is None:
            untimed.append(one)
            continue
        words += _between(untimed, words[-1].end if words else start, one.start)
        untimed = []
        ends = max(one.start, one.end)
        words.append(Word(text=one.text, start=one.start, end=ends, score=one.score))
    return words + _between(untimed, words[-1].end if words else start, end)


def _between(untimed: Sequence[PartialWord], start: float, end: float) -> list[Word]:
    return spread_words([one.text for one in untimed], start, end) if untimed else []
