"""`edits.json`: a user's changes to a video's words and shorts, as one strictly validated document.

Words are named by their numbers in `original.words.json`, from 0, with the text that is found
there, so that an edit which was made for another transcript is noticed. Shorts are named by the
`id` of their moment. Everything is in objects by name, so that the edits of two people can be
merged field by field.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

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
from clipflow.domain.transcript import Seconds, split_words

# Bounds of one document. Ten hours of speech are about 100 000 words.
MAX_BYTES = 4 << 20
_MAX_WORDS, _MAX_REPLACEMENTS, _MAX_SHORTS, _MAX_VIEWS = 20_000, 500, 2000, 100
_MAX_RESTORED = 1000
# Characters of a word.
_WORD = 100

_Word = Annotated[str, Field(min_length=1, max_length=_WORD), AfterValidator(one_line)]
# Empty: the word is not shown.
_Correction = Annotated[str, Field(max_length=_WORD), AfterValidator(one_line)]
_Phrase = Annotated[_Word, AfterValidator(more_than_blanks)]
_Number = Annotated[int, Field(strict=True, ge=0, lt=10_000_000)]
# A word's number as the name of a field.
_WordName = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,6})$")]
_Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


class WordCorrection(StrictModel):
    """A new text for one word; empty to hide the word.

    `original` is the word in the transcript. If it has changed since, the correction is ignored.
    """

    original: _Word
    text: _Correction


class WordSpan(StrictModel):
    """The words `first` to `last`, both included.

    `first_word` and `last_word` are these words in the transcript. If one has changed since, the
    span is ignored.
    """

    first: _Number
    last: _Number
    first_word: _Word | None = None
    last_word: _Word | None = None

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

    start: Seconds
    end: Seconds
    person: Annotated[int, Field(strict=True, ge=1, le=16)] | None = None
    place: Place | None = None

    @model_validator(mode="after")
    def _is_one_view(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start must be before end")
        if (self.person is None) == (self.place is None):
            raise ValueError("a view has either person or place")
        return self


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
    restored: dict[RemovalId, _Word] = Field(default_factory=dict, max_length=_MAX_RESTORED)
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
    base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Merge two documents that were both made from `base`, field by field.

    Returns the merged document and the fields that both have changed, to different values, as
    `shorts.m1000-2000.title`; of those, the document has `mine`.
    """
    merged: dict[str, Any] = {}
    conflicts: list[str] = []
    for name in dict.fromkeys([*theirs, *mine]):
        before, ours, other = (each.get(name) for each in (base, mine, theirs))
        if isinstance(ours, Mapping) and isinstance(other, Mapping):
            inner = before if isinstance(before, Mapping) else {}
            merged[name], within = merge(inner, ours, other)
            conflicts += [f"{name}.{field}" for field in within]
            continue
        if ours != before and other not in (before, ours):
            conflicts.append(name)
        chosen = other if ours == before else ours
        if chosen is not None:
            merged[name] = chosen
    return merged, conflicts
