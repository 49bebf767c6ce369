"""A moment's description and hashtags, taken from what is said in it without a language model.

The description consists of whole sentences of the moment. The hashtags are its names and terms,
ranked by their frequency in it and their rarity elsewhere in the talk (TF-IDF).
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import groupby
from math import log, sqrt

from stop_words import LANGUAGE_MAPPING, get_stop_words

from clipflow.domain.post_text import (
    DESCRIPTION_LIMIT,
    FEWEST_HASHTAGS,
    MOST_HASHTAGS,
    bounded,
    distinct,
    hashtag,
)
from clipflow.domain.removals import without_fillers
from clipflow.domain.transcript import Line, Transcript, is_unspaced, joined, sentences

# Characters. Shorter terms are more often function words than words of the subject; a name in
# capitals, such as "EU", may be shorter.
_SHORTEST_TERM, _SHORTEST_NAME = 4, 2
# Words of a name, such as "New York City".
_LONGEST_NAME = 3
# How much more a name counts than another term.
_NAME = 2.0
# A term in more than this share of at least so many sentences is common in the language.
_EVERYWHERE, _MANY_SENTENCES = 0.3, 20
# Characters of a term in a script without spaces, and how often it must be said: without a
# dictionary, only repetition distinguishes a word from other groups of characters.
_UNSPACED_LENGTHS, _REPEATED = range(2, 6), 2
# Runs of katakana, and of Han characters between kana, are words without repetition.
_RUNS = re.compile(
    "[\u30a1-\u30fa\u30fc]{3,12}|(?<=[\u3041-\u309f])[\u4e00-\u9fff\u3005]{2,4}(?=[\u3041-\u309f])"
)
_APOSTROPHES = re.compile("['’ʼ]")
_ENGLISH = "en"
# Words that are always written with a capital and are not names.
_NEVER_NAMES = {"i"}
# Characters of Chinese with which no term begins or ends. The list of stop words has many that do,
# such as that of 人工智能.
_CHINESE_PARTICLES = set("的了是在我你他她它们这那和就都也很不有吗呢吧啊个说要会与及或")
# The most characters at the end of a word by which two forms of one term differ.
_ENDING = 2


@dataclass(frozen=True)
class Term:
    """A name or another term, as it is written in a hashtag; `key` is the same in any case."""

    key: str
    text: str
    is_name: bool


class Summarizer:
    """Describes moments of one talk; `transcript` is the whole of it, with corrections."""

    def __init__(self, transcript: Transcript) -> None:
        self._language = (transcript.language or "").lower().partition("-")[0]
        self._lines = sentences(transcript.words, transcript.language)
        # A word is in a moment if its middle is, as in the captions.
        self._begins = [_middle(line, 0) for line in self._lines]
        self._ends = [_middle(line, -1) for line in self._lines]
        self._names = _names_within(self._lines)
        repeated = _repeated(self._lines)
        self._terms = [list(self._terms_of(line, repeated)) for line in self._lines]
        self._in_lines = Counter(key for row in self._terms for key in {term.key for term in row})
        self._said = Counter(term.key for row in self._terms for term in row)
        self._limit = max(_MANY_SENTENCES, len(self._lines)) * _EVERYWHERE

    def description(self, start: float, end: float) -> str:
        """Whole sentences that are said from `start` to `end`: the first, and the most salient of
        the others that fit, in the order of the talk."""
        inside = self._inside(start, end)
        if not inside:
            return ""
        weights = self._weights(inside)
        first, *others = inside
        ranked = sorted(others, key=lambda n: -self._weight(n, weights))
        chosen: list[int] = []
        for number in [first, *ranked]:
            if len(self._text([*chosen, number])) <= DESCRIPTION_LIMIT:
                chosen.append(number)
        return self._text(chosen) if chosen else bounded(self._text([first]))

    def hashtags(self, start: float, end: float) -> tuple[str, ...]:
        """The most salient names and terms from `start` to `end`; where these are fewer than three,
        also the talk's."""
        weights = self._weights(self._inside(start, end))
        tags = self._best(weights, MOST_HASHTAGS)
        if len(tags) < FEWEST_HASHTAGS:
            tags += [tag for tag in self._of_talk if not _is_form_of(tag, tags)]
            tags = tags[:FEWEST_HASHTAGS]
        return distinct(tags)

    @cached_property
    def _of_talk(self) -> list[str]:
        return self._best(self._weights(range(len(self._lines))), MOST_HASHTAGS)

    def _inside(self, start: float, end: float) -> Sequence[int]:
        """The numbers of the sentences that are whole in the moment; of those that overlap it, if
        none is."""
        first, last = bisect_left(self._begins, start), bisect_left(self._ends, end)
        if first < last:
            return range(first, last)
        nearby = range(max(0, first - 1), min(len(self._lines), first + 1))
        return [n for n in nearby if self._begins[n] < end and self._ends[n] >= start]

    def _text(self, numbers: Sequence[int]) -> str:
        rows = (without_fillers(self._lines[n].words, self._language) for n in sorted(numbers))
        return joined([word for row in rows for word in row])

    def _weights(self, numbers: Iterable[int]) -> dict[Term, float]:
        """The weight of each term that is said in these sentences."""
        said: Counter[str] = Counter()
        terms: dict[str, Term] = {}
        for term in (term for n in numbers for term in self._terms[n]):
            said[term.key] += 1
            terms.setdefault(term.key, term)
        everything = len(self._lines) + 1
        return {
            term: said[key]
            * sqrt(self._said[key])
            * log(everything / self._in_lines[key])
            * (_NAME if term.is_name else min(1.0, len(key) / (2 * _SHORTEST_TERM)))
            for key, term in terms.items()
            if self._in_lines[key] <= self._limit
        }

    def _weight(self, number: int, weights: dict[Term, float]) -> float:
        terms = set(self._terms[number])
        return sum(weights.get(term, 0.0) for term in terms) / sqrt(len(terms) or 1)

    def _best(self, weights: dict[Term, float], count: int) -> list[str]:
        """The terms with the most weight, each in one of its forms."""
        tags: list[str] = []
        for term in sorted(weights, key=lambda term: -weights[term]):
            if len(tags) == count:
                break
            if not _is_form_of(term.text, tags):
                tags.append(term.text)
        return tags

    def _terms_of(self, line: Line, repeated: Counter[str]) -> Iterator[Term]:
        text = line.text
        tokens = text.split()
        at = 0
        while at < len(tokens):
            name = self._name_at(tokens, at)
            if name:
                yield Term("".join(name).casefold(), "".join(name), True)
                at += len(name)
                continue
            term = _bare(tokens[at])
            if term and self._is_term(term, _SHORTEST_TERM):
                yield Term(term.casefold(), term.lower(), False)
            at += 1
        for run in _unspaced_runs(text):
            for part in _unspaced_terms(run, repeated):
                if not {part[0], part[-1]} & _CHINESE_PARTICLES:
                    yield Term(part, part, False)

    def _name_at(self, tokens: Sequence[str], at: int) -> list[str]:
        """The name that begins with the token `at`; empty if none does.

        The first word of a sentence is a name only if it is written so within sentences too.
        """
        found: list[str] = []
        for number, token in enumerate(tokens[at : at + _LONGEST_NAME], at):
            bare = _bare(token)
            is_capital = bare[:1].isupper() and (number > 0 or bare in self._names)
            if not is_capital or bare.casefold() in _NEVER_NAMES or hashtag(bare) != bare:
                break
            found.append(bare)
            # A comma ends a name, and so does a possessive.
            if token[-1:] != bare[-1:]:
                break
        is_name = any(bare in self._names and self._is_term(bare, _SHORTEST_NAME) for bare in found)
        return found if is_name else []

    def _is_term(self, text: str, shortest: int) -> bool:
        is_word = len(text) >= shortest and text.casefold() not in self._stop_words
        return is_word and not is_unspaced(text[0]) and hashtag(text) == text

    @property
    def _stop_words(self) -> frozenset[str]:
        return _stop_words(self._language or _ENGLISH)


@cache
def _stop_words(language: str) -> frozenset[str]:
    """The common words of a language (ISO 639-1), in lower case; none for one without a list."""
    # Whisper has its own codes for Norwegian.
    language = {"no": "nb", "nn": "nb"}.get(language, language)
    if language not in LANGUAGE_MAPPING:
        return frozenset()
    listed = {word.casefold() for word in get_stop_words(language)}
    # "don't" is looked up as "don" and as "dont".
    parts = {part for word in listed for part in _APOSTROPHES.split(word) if part}
    return frozenset(listed | parts | {_APOSTROPHES.sub("", word) for word in listed})


def _middle(line: Line, number: int) -> float:
    word = line.words[number]
    return (word.start + word.end) / 2


def _bare(token: str) -> str:
    """A token without its punctuation, and without what an apostrophe puts before or after it."""
    letters = [n for n, character in enumerate(token) if character.isalnum()]
    if not letters:
        return ""
    inner = token[letters[0] : letters[-1] + 1]
    part = max(_APOSTROPHES.split(inner), key=len)
    return hashtag(part) or ""


def _names_within(lines: Sequence[Line]) -> frozenset[str]:
    """The words that are written with a capital within sentences, and at least as often as
    without one."""
    capitals: Counter[str] = Counter()
    small: Counter[str] = Counter()
    for line in lines:
        for number, token in enumerate(line.text.split()):
            bare = _bare(token)
            if bare[:1].islower():
                small[bare.casefold()] += 1
            elif bare[:1].isupper() and (number or not bare[1:].islower()):
                capitals[bare] += 1
    return frozenset(word for word, count in capitals.items() if count >= small[word.casefold()])


def _is_form_of(tag: str, others: Sequence[str]) -> bool:
    """Whether the tag is another form of one of the others, as a plural, or is a part of one."""
    key = tag.casefold()
    for other in (other.casefold() for other in others):
        short, long = sorted((key, other), key=len)
        if short == long or (is_unspaced(short[0]) and short in long):
            return True
        if len(long) - len(short) <= _ENDING and long.startswith(short[: max(4, len(short) - 1)]):
            return len(short) >= _SHORTEST_TERM
    return False


def _unspaced_runs(text: str) -> Iterator[str]:
    """The uninterrupted sequences of letters in scripts without spaces."""
    for kind, group in groupby(text, lambda c: is_unspaced(c) and c.isalpha()):
        if kind:
            yield "".join(group)


def _repeated(lines: Sequence[Line]) -> Counter[str]:
    """How often each group of characters is said, in scripts without spaces."""
    return Counter(
        run[at : at + length]
        for line in lines
        for run in _unspaced_runs(line.text)
        for length in _UNSPACED_LENGTHS
        for at in range(len(run) - length + 1)
    )


def _unspaced_terms(run: str, repeated: Counter[str]) -> Iterator[str]:
    """The terms in a sequence of characters.

    Terms in Han characters must be repeated, and not only as a part of one longer term.
    """
    taken: set[int] = set()
    for match in _RUNS.finditer(run):
        yield match[0]
        taken.update(range(*match.span()))
    for length in reversed(_UNSPACED_LENGTHS):
        for at in range(len(run) - length + 1):
            part = run[at : at + length]
            places = range(at, at + length)
            if repeated[part] >= _REPEATED and not taken & {*places} and _is_han(part):
                yield part
                taken.update(places)


def _is_han(text: str) -> bool:
    return all("\u3400" <= character <= "\u9fff" for character in text)
