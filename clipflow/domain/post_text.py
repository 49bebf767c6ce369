"""The text that is posted with a short: title, hook, description, hashtags, and their limits."""

import re
from collections.abc import Iterable
from typing import Annotated
from unicodedata import category, normalize

from pydantic import AfterValidator, Field

# The most characters of the texts that a person sets. For a description that is YouTube's limit; a
# title takes one or two lines on a phone.
_TITLE, _HOOK, _DESCRIPTION, _HASHTAG = 200, 200, 5000, 100
# The most hashtags that a person may set, which is Instagram's limit.
_MAX_HASHTAGS = 30
# Characters of a description and the number of hashtags that clipflow writes. A feed shows about
# 125 characters of a description, and YouTube the first three hashtags.
DESCRIPTION_LIMIT = 300
FEWEST_HASHTAGS, MOST_HASHTAGS = 3, 5
# Unicode's embeddings, overrides and isolates, which reorder the text that follows them.
REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
# Unicode's categories of control characters, lone surrogates and line separators.
_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
# Unicode's categories of spaces and of characters without a shape, such as U+200B.
_INVISIBLE = {"Zs", "Cf"}
# Unicode's categories of letters, marks and decimal digits, of which a hashtag consists.
_OF_HASHTAGS = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd"}
# Invisible characters that join or separate others.
_JOINERS = re.compile("[\u200b-\u200d\u2060\ufeff]")
_ELLIPSIS = "…"


def one_line(value: str) -> str:
    """Validates a text of one line. Raises ValueError for control and reordering characters."""
    if any(category(character) in _CONTROLS for character in value):
        raise ValueError("a text has one line and no control characters")
    return _ordered(value)


def more_than_blanks(value: str) -> str:
    """Validates a text that has a visible character. Raises ValueError."""
    if all(category(character) in _INVISIBLE for character in value):
        raise ValueError("a text has more than blanks")
    return value


def _lines(value: str) -> str:
    if any(category(c) in _CONTROLS for c in value if c not in "\n\t"):
        raise ValueError("a text has no control characters")
    return _ordered(value)


def _ordered(value: str) -> str:
    if REORDERING.search(value):
        raise ValueError("a text has no characters that reorder others (U+202A-202E, U+2066-2069)")
    return value


def _hashtag(value: str) -> str:
    bare = _JOINERS.sub("", normalize("NFC", value).strip().removeprefix("#"))
    if hashtag(bare) != bare.replace("_", ""):
        raise ValueError("a hashtag has letters and digits, and not digits alone")
    return bare


Title = Annotated[
    str, Field(max_length=_TITLE), AfterValidator(one_line), AfterValidator(more_than_blanks)
]
Hook = Annotated[str, Field(max_length=_HOOK), AfterValidator(one_line)]
Description = Annotated[str, Field(max_length=_DESCRIPTION), AfterValidator(_lines)]
# Written with or without its `#`, and stored without it.
Hashtag = Annotated[str, Field(max_length=_HASHTAG), AfterValidator(_hashtag)]
Hashtags = Annotated[tuple[Hashtag, ...], Field(max_length=_MAX_HASHTAGS)]


def hashtag(text: str) -> str | None:
    """The letters and digits of a text, in NFC, as a hashtag without its `#`; None if it has no
    letter or is too long."""
    tag = "".join(c for c in normalize("NFC", text) if category(c) in _OF_HASHTAGS)
    if len(tag) > _HASHTAG or not any(category(character)[0] == "L" for character in tag):
        return None
    return tag


def distinct(tags: Iterable[str]) -> tuple[str, ...]:
    """The hashtags without those that differ from an earlier one only by case."""
    return tuple({tag.casefold(): tag for tag in reversed(list(tags))}.values())[::-1]


def plain_line(text: str, between: str = " ") -> str:
    """The text in one line, without the characters that reorder others, and with `between` instead
    of each control character."""
    kept = (between if category(c) in _CONTROLS else c for c in REORDERING.sub("", text))
    return " ".join("".join(kept).split())


def bounded(text: str, limit: int = DESCRIPTION_LIMIT) -> str:
    """The text, cut between two words to at most `limit` characters."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    return (head.rpartition(" ")[0] or head).rstrip(" ,;:.-–—،؛、，。；：") + _ELLIPSIS
