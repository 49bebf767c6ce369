"""`edits.json`: a user's changes to a video's words and shorts, as one strictly validated document,
and the transcript with its corrections.

Words are named by their numbers in `original.words.json`, from 0, with the text that is found
there, so that an edit which was made for another transcript is noticed. Shorts are named by the
`id` of their moment. Everything is in objects by name, so that the edits of two people can be
merged field by field.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self
from unicodedata import category

from pydantic import AfterValidator, Field, model_validator

from clipflow.domain.caption_styles import StyleName
from clipflow.domain.layouts import Layout
from clipflow.domain.model import StrictModel
from clipflow.domain.post_text import (
    Description,
    Hashtags,
    Hook,
    Title,
    more_than_blanks,
    one_line,
)
from clipflow.domain.removals import RemovalId
from clipflow.domain.shorts import Decision, MomentId
from clipflow.domain.transcript import Seconds, Transcript, Word, joined, split_words, spread_words

# Bounds of one document. Ten hours of speech are about 100 000 words.
MAX_BYTES = 4 << 20
_MAX_WORDS, _MAX_REPLACEMENTS, _MAX_SHORTS, _MAX_VIEWS = 20_000, 500, 2000, 100
_MAX_RESTORED = 1000
# Characters of a word that a person writes, and of one in the transcript: those of subtitles have
# rows of up to 20 000 characters.
_WORD, _SAID = 100, 20_000

_Word = Annotated[str, Field(min_length=1, max_length=_WORD), AfterValidator(one_line)]
_SaidWord = Annotated[str, Field(min_length=1, max_length=_SAID), AfterValidator(one_line)]
# Empty: the word is not shown.
_Correction = Annotated[str, Field(max_length=_WORD), AfterValidator(one_line)]
_Phrase = Annotated[_Word, AfterValidator(more_than_blanks)]
_Number = Annotated[int, Field(strict=True, ge=0, lt=10_000_000)]
# A word's number as the name of a field.
_WordName = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,6})$")]
_Time = Annotated[Seconds, Field(strict=True)]
_Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


class WordCorrection(StrictModel):
    """A new text for one word; empty to hide the word.

    `original` is the word in the transcript. If it has changed since, the correction is ignored.
    """

    original: _SaidWord
    text: _Correction


class WordSpan(StrictModel):
    """The words `first` to `last`, both included.

    `first_word` and `last_word` are these words in the transcript. If one has changed since, the
    span is ignored.
    """

    first: _Number
    last: _Number
    first_word: _SaidWord | None = None
    last_word: _SaidWord | None = None

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if self.first > self.last:
            raise ValueError("first must not be after last")
        return self


class Place(StrictModel):
    """A point of the source's picture, as fractions of its width and height from the upper left."""

    x: _Share
    y: _Share


class View(StrictModel):
    """What is shown from `start` to `end`, in seconds of the video: a person, by number from 1,
    from the left among the people who are seen then; or the place that the crop is centred on."""

    start: _Time
    end: _Time
    person: Annotated[int, Field(strict=True, ge=1, le=16)] | None = None
    place: Place | None = None

    @model_validator(mode="after")
    def _is_one_view(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start must be before end")
        if (self.person is None) == (self.place is None):
            raise ValueError("a view has either person or place")
        return self


def views_within(views: Iterable[View], start: float, end: float) -> list[View]:
    """The views that are in the short from `start` to `end`, with times from its start."""
    inside = (view for view in views if view.start < end and view.end > start)
    return [
        view.model_copy(
            update={"start": max(view.start, start) - start, "end": min(view.end, end) - start}
        )
        for view in inside
    ]


class ShortEdit(StrictModel):
    """The user's changes to one short; an absent field is unchanged."""

    decision: Decision | None = None
    span: WordSpan | None = None
    title: Title | None = None
    hook: Hook | None = None
    description: Description | None = None
    hashtags: Hashtags | None = None
    layout: Layout | None = None
    caption_style: StyleName | None = None
    tighten: Annotated[bool, Field(strict=True)] | None = None
    # Removals that tightening does not make, by id, each with the word of that number in the
    # transcript.
    restored: dict[RemovalId, _SaidWord] = Field(default_factory=dict, max_length=_MAX_RESTORED)
    framing: Annotated[tuple[View, ...], Field(max_length=_MAX_VIEWS)] = ()


class Edits(StrictModel):
    """The whole of `edits.json`."""

    version: Literal[1] = 1
    words: dict[_WordName, WordCorrection] = Field(default_factory=dict, max_length=_MAX_WORDS)
    # Replacements by phrase, applied to all words without their own correction.
    replacements: dict[_Phrase, _Phrase] = Field(default_factory=dict, max_length=_MAX_REPLACEMENTS)
    shorts: dict[MomentId, ShortEdit] = Field(default_factory=dict, max_length=_MAX_SHORTS)

    @model_validator(mode="after")
    def _replaces_words(self) -> Self:
        for phrase in self.replacements:
            if len(split_words(phrase)) > _MAX_PHRASE:
                raise ValueError(f"replacements: {phrase!r} has more than {_MAX_PHRASE} words")
        return self

    @property
    def touched(self) -> frozenset[str]:
        """The ids of the moments that the user has edited."""
        return frozenset(id for id, edit in self.shorts.items() if edit != ShortEdit())

    def document(self) -> dict[str, Any]:
        """The document as JSON, without absent fields."""
        return self.model_dump(mode="json", exclude_none=True, exclude_defaults=True) | {
            "version": self.version
        }


_MAX_PHRASE = 10


def merge(
    base: Mapping[str, Any],
    mine: Mapping[str, Any],
    theirs: Mapping[str, Any],
    path: tuple[str, ...] = (),
) -> tuple[dict[str, Any], list[str]]:
    """Merge two documents that were both made from `base`, field by field.

    Returns the merged document and the fields that both have changed, to different values, as
    `shorts.m1000-2000.title`; of those, the document has `mine`. `path` is where they are parts of
    the whole document.
    """
    merged: dict[str, Any] = {}
    conflicts: list[str] = []
    for name in dict.fromkeys([*theirs, *mine]):
        before, ours, other = (each.get(name) for each in (base, mine, theirs))
        may_be_absent = _is_container((*path, name)) and (ours or other) is not None
        if may_be_absent:
            ours, other = ours or {}, other or {}
        if isinstance(ours, Mapping) and isinstance(other, Mapping):
            inner = before if isinstance(before, Mapping) else {}
            part, within = merge(inner, ours, other, (*path, name))
            if part or not may_be_absent:
                merged[name] = part
            conflicts += [f"{name}.{field}" for field in within]
            continue
        if ours != before and other not in (before, ours):
            conflicts.append(name)
        chosen = other if ours == before else ours
        if chosen is not None:
            merged[name] = chosen
    return merged, conflicts


def _is_container(path: Sequence[str]) -> bool:
    """Whether the object at a path may be absent if it is empty. Others, such as a span, exist as a
    whole."""
    match path:
        case ["words" | "replacements" | "shorts"] | ["shorts", _] | ["shorts", _, "restored"]:
            return True
    return False


# The confidence of a word that a user has corrected.
_CERTAIN = 1.0


@dataclass(frozen=True)
class CorrectedTranscript:
    """The transcript as it is shown, with the corrections.

    `sources` has the number of the recognised word that each word comes from; `stale` the numbers
    of the corrections that are for another transcript, and are not applied.
    """

    transcript: Transcript
    sources: tuple[int, ...]
    stale: tuple[int, ...] = ()


def corrected(recognized: Transcript, edits: Edits) -> CorrectedTranscript:
    """Apply the corrections and the replacements of `edits`.

    A correction of one word takes precedence over replacements. The text that replaces several
    words is divided over their time by the lengths of its words. Speakers are kept.
    """
    words = recognized.words
    texts, stale = _corrections(words, edits)
    rules = _rules(edits.replacements)
    found: list[tuple[int, Word]] = []
    at = 0
    while at < len(words):
        if at in texts:
            found += [(at, word) for word in _spread(texts[at], words[at : at + 1])]
            at += 1
            continue
        count, shown = _replaced(words, at, rules, texts)
        found += [(at + min(n, count - 1), word) for n, word in enumerate(shown)]
        at += count
    transcript = replace(recognized, words=tuple(word for _, word in found))
    return CorrectedTranscript(transcript, tuple(number for number, _ in found), stale)


def is_stale(span: WordSpan, words: Sequence[Word]) -> bool:
    """Whether the span was made for a different transcript than `words`."""
    if span.last >= len(words):
        return True
    expected = ((span.first, span.first_word), (span.last, span.last_word))
    return any(text not in (None, words[number].text) for number, text in expected)


def _corrections(words: Sequence[Word], edits: Edits) -> tuple[Mapping[int, str], tuple[int, ...]]:
    texts: dict[int, str] = {}
    stale: list[int] = []
    for name, correction in edits.words.items():
        number = int(name)
        if number < len(words) and words[number].text == correction.original:
            texts[number] = correction.text
        else:
            stale.append(number)
    return texts, tuple(sorted(stale))


def corrected_text(text: str, words: Sequence[Word], numbers: range, edits: Edits) -> str:
    """A text about the words with these numbers, with their corrections and the replacements.

    The correction of a word applies if each occurrence of it among these words is corrected in the
    same way.
    """
    texts, _ = _corrections(words, edits)
    own: dict[str, set[str | None]] = {}
    for number in numbers:
        own.setdefault(_bare(words[number].text)[1], set()).add(texts.get(number))
    alike = {said: shown.pop() for said, shown in own.items() if len(shown) == 1}
    replacements = {said: _bare(shown)[1] for said, shown in alike.items() if shown}
    rules = _rules({**edits.replacements, **replacements})
    tokens = spread_words(split_words(text), 0, 1)
    found: list[Word] = []
    at = 0
    while at < len(tokens) and rules:
        count, shown_words = _replaced(tokens, at, rules, {})
        found += shown_words
        at += count
    shown_text = joined(found)
    return shown_text if found and shown_text != joined(tokens) else text


@dataclass(frozen=True)
class _Rule:
    """The words of a phrase, and the text that is shown instead.

    A phrase in lower case is found in any case; one with a capital only as it is written.
    """

    phrase: tuple[str, ...]
    text: str
    ignores_case: bool

    def matches(self, said: Sequence[str]) -> bool:
        folded = [word.casefold() for word in said] if self.ignores_case else list(said)
        return folded == list(self.phrase)


def _rules(replacements: Mapping[str, str]) -> list[_Rule]:
    """The longest phrase first, so that "Jon Smith" is found before "Jon"."""
    rules = []
    for phrase, text in replacements.items():
        bare = (_bare(word)[1] for word in split_words(phrase))
        words = tuple(word for word in bare if word)
        ignores_case = phrase == phrase.lower()
        folded = tuple(word.casefold() for word in words) if ignores_case else words
        if words:
            rules.append(_Rule(folded, text, ignores_case))
    return sorted(rules, key=lambda rule: -len(rule.phrase))


def _replaced(
    words: Sequence[Word], at: int, rules: Sequence[_Rule], kept: Mapping[int, str]
) -> tuple[int, list[Word]]:
    """The number of words that are replaced from `at` on, and their replacement.

    Without a matching rule, that is the word itself.
    """
    for rule in rules:
        count = len(rule.phrase)
        group = words[at : at + count]
        if len(group) < count or any(at + n in kept for n in range(count)):
            continue
        parts = [_bare(word.text) for word in group]
        if rule.matches([part[1] for part in parts]):
            said, text = parts[0][1], rule.text
            if rule.ignores_case and said[:1].isupper():
                text = text[:1].upper() + text[1:]
            # The punctuation around the phrase is kept.
            return count, _spread(f"{parts[0][0]}{text}{parts[-1][2]}", group)
    return 1, [words[at]]


def _spread(text: str, group: Sequence[Word]) -> list[Word]:
    """`text` as words in the time of `group`; each keeps its own if there are as many."""
    parts = split_words(text)
    if len(parts) == len(group):
        times = [(word.start, word.end) for word in group]
    else:
        spread = spread_words(parts, group[0].start, group[-1].end)
        times = [(word.start, word.end) for word in spread]
    return [
        group[min(n, len(group) - 1)].model_copy(
            update={"text": part, "start": start, "end": end, "score": _CERTAIN}
        )
        for n, (part, (start, end)) in enumerate(zip(parts, times, strict=True))
    ]


def _bare(text: str) -> tuple[str, str, str]:
    """A word divided into leading punctuation, the word itself and trailing punctuation."""
    letters = [n for n, character in enumerate(text) if category(character)[0] not in "PSZ"]
    if not letters:
        return "", text, ""
    first, last = letters[0], letters[-1] + 1
    return text[:first], text[first:last], text[last:]


def numbered_words(transcript: CorrectedTranscript) -> Iterator[tuple[int, Word]]:
    """Each word that is shown, with the number of the recognised word that it comes from."""
    return zip(transcript.sources, transcript.transcript.words, strict=True)
