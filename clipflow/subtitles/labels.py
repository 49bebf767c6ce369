"""Finds speaker labels, such as `MARTA:` or `[SPEAKER_00]:`, in the rows of subtitles."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

# A dash or an asterisk in front of a label belongs to it.
_BEFORE = r"\s*(?:[-–—•*]\s*)?"
_COLON = r"\s*[:：]"
_ID = r"(?:\d{1,3}|[A-Z]|unknown)"
# `[SPEAKER_00]:`, `(speaker 1)`, `[Speaker A]`, and `[Marta Weiss]:` with its colon.
_BRACKETED = re.compile(
    rf"{_BEFORE}[\[(]\s*(?:(speaker[\s_-]{{0,3}}{_ID})\s*[\])](?:{_COLON})?"
    rf"|([^\[\]():]{{1,40}})[\])]{_COLON})",
    re.IGNORECASE,
)
# `Speaker 1:`, `SPEAKER_00:`.
_NUMBERED = re.compile(rf"{_BEFORE}(speaker[\s_-]{{0,3}}{_ID}){_COLON}", re.IGNORECASE)
# `MARTA:`, `Marta Weiss:`, `Sprecher 1:`: a blank follows, unlike in a time or an address.
_NAMED = re.compile(rf"{_BEFORE}([^\W\d_][^\s:：]*(?: [^\s:：]+){{0,3}}){_COLON}(?=\s|$)")
# The same in the middle of a row, where only a bracket with a number is sure to be a label.
_INSIDE = re.compile(rf"[\[(]\s{{0,3}}speaker[\s_-]{{0,3}}{_ID}\s{{0,3}}[\])]", re.IGNORECASE)
# Broadcasters' sign for another speaker, and whisper.cpp's.
_TURN = re.compile(r">{2,}|\[SPEAKER[ _]TURN\]", re.IGNORECASE)
# What a name does not hold, and how long one is.
_NOT_IN_NAMES = re.compile(r"[!?,;\"“”«»<>{}=/\\]|\.\.|…")
_LONGEST_NAME = 40
# A name is a label if enough cues start with it: "Note:" occurs rarely.
_LABELLED_SHARE, _FEWEST = 0.4, 2
_LETTERS_OF_INITIALS = 2


@dataclass
class SpeakerLabels:
    """The labels of one file, read in order: a speaker applies until the next label."""

    names: frozenset[str]
    speaker: str | None = None
    _spellings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[str]) -> Self:
        """The labels of a file with these rows: which names stand for speakers in it."""
        rows = [row for row in rows if row.strip()]
        capitals = sum(row.isupper() for row in rows) > len(rows) / 2
        counts: Counter[str] = Counter()
        shouted: Counter[str] = Counter()
        for row in rows:
            if (name := _name_of(row)) is None:
                continue
            counts[name] += 1
            if name.isupper() and not capitals and len(name) > _LETTERS_OF_INITIALS:
                shouted[name] += 1
        are_many = sum(counts.values()) >= max(_FEWEST, _LABELLED_SHARE * len(rows))
        known = {name for name, count in counts.items() if are_many or _is_full(name, count)}
        return cls(frozenset(known | set(shouted)))

    def parts(self, row: str) -> Iterator[tuple[str | None, int, str]]:
        """The row without labels, in parts: who says each, where it begins in the row, its text."""
        at = 0
        for match in [*_TURN.finditer(row), None]:
            end = match.start() if match else len(row)
            for label in _INSIDE.finditer(row, at, end):
                yield from self._part(row, at, label.start())
                at = label.start()
            yield from self._part(row, at, end)
            if match:
                # The speaker is unknown unless a label follows.
                self.speaker, at = None, match.end()

    def _part(self, row: str, at: int, end: int) -> Iterator[tuple[str | None, int, str]]:
        while match := self._label(row, at, end):
            name = " ".join(next(filter(None, match.groups())).split())
            self.speaker = self._spellings.setdefault(_compared(name), name)
            at = match.end()
        if (text := row[at:end]).strip():
            yield self.speaker, at, text

    def _label(self, row: str, at: int, end: int) -> re.Match[str] | None:
        for kind in (_BRACKETED, _NUMBERED):
            if match := kind.match(row, at, end):
                return match
        match = _NAMED.match(row, at, end)
        if match is None or not _is_name(match[1]):
            return None
        # Behind a sign for another speaker it is a label whatever else the file holds.
        follows_turn = self.speaker is None and row[:at].rstrip().endswith((">>", "]"))
        return match if follows_turn or match[1] in self.names else None


def _name_of(row: str) -> str | None:
    match = _NAMED.match(row)
    return match[1] if match and _is_name(match[1]) else None


def _is_name(text: str) -> bool:
    """Whether it reads as one: short, every word with a capital, a number or no case at all."""
    if len(text) > _LONGEST_NAME or _NOT_IN_NAMES.search(text):
        return False
    return all(not word[0].islower() or word in ("de", "van", "von", "al") for word in text.split())


def _is_full(name: str, count: int) -> bool:
    return count >= _FEWEST and (" " in name or name[-1].isdigit())


def _compared(name: str) -> str:
    """`Speaker 1` and `speaker 1` are one; `SPEAKER_01` may come from another count."""
    return name.casefold()
