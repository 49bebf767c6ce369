"""Finds the labels of speakers in subtitles, such as `MARTA:` or `[SPEAKER_00]:`.

A row that begins with `Remember:` looks like one that begins with `Marta:`. Therefore only labels
with a bracket, or with "speaker" and a number, are labels in every file. A name with a colon is one
if most of the file's cues begin with such names and the names repeat, or if the file names the
speaker whenever another one begins. Otherwise it is spoken, so that no spoken word is lost.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Self

# A dash or an asterisk in front of a label belongs to it.
_BEFORE = r"\s*(?:[-–—•*]\s*)?"
_COLON = r"\s*[:：]"
# whisper.cpp writes `?` if it cannot tell which channel is the louder one.
_UNKNOWN = r"speaker[\s_-]{0,3}(?:unknown|\?)"
_ID = rf"(?:speaker[\s_-]{{0,3}}(?:\d{{1,3}}|[A-Z])|{_UNKNOWN})"
# `[SPEAKER_00]:`, `(speaker 1)`, `[Speaker A]`, and `[Marta Weiss]:` with its colon.
_BRACKETED = re.compile(
    rf"{_BEFORE}[\[(]\s*(?:({_ID})\s*[\])](?:{_COLON})?|([^\[\]():]{{1,40}})[\])]{_COLON})",
    re.IGNORECASE,
)
# `Speaker 1:`, `SPEAKER_00:`.
_NUMBERED = re.compile(rf"{_BEFORE}({_ID}){_COLON}", re.IGNORECASE)
# Any text with a colon. A blank follows, unlike in a time or an address; full-width colons have
# none.
_NAMED = re.compile(rf"{_BEFORE}([^\s:：](?:[^:：]{{0,78}}[^\s:：])?)\s{{0,3}}(?::(?=\s|$)|：)")
# The same in the middle of a row, where only a bracket with a number is sure to be a label.
_INSIDE = re.compile(rf"[\[(]\s{{0,3}}{_ID}\s{{0,3}}[\])]", re.IGNORECASE)
# Broadcasters' sign for another speaker, and whisper.cpp's.
_TURN = re.compile(r">{2,}|\[SPEAKER[ _]TURN\]", re.IGNORECASE)
_FIRST_TURN = re.compile(rf"{_BEFORE}(?:{_TURN.pattern})", re.IGNORECASE)
# The dash of a dialogue; `—and so on` continues a sentence.
_DASH = re.compile(r"\s*[-–—](?:\s|(?=([^\W\d_])))")
# Characters that names do not have, and the longest name, in characters and in words.
_NOT_IN_NAMES = re.compile(r"[!?,;\"“”«»<>{}=/\\]|\.\.|…")
_LONGEST_NAME, _MOST_WORDS = 40, 4
_PARTICLES = ("de", "van", "von", "al")
# What people who joined a call by telephone or by an invitation are called.
_ADDRESS = re.compile(r"\+?[\d*][\d*()\s.-]{5,}|[^\s@]+@[^\s@]+\.[^\s@]+")
_LETTERS_OF_INITIALS = 2
# Parts of a file's cues: that must begin with names for these to be labels; with which a name that
# occurs once is one; and with which everything with a colon is one, as in the files of meetings.
_MOST, _MORE, _NEARLY_ALL = 0.5, 0.75, 0.9
# Names that must occur again where fewer cues have one.
_FEWEST = 2
# The part of the names that must be repeated, or be names beyond doubt.
_REPEATED = 0.25


class _Lead(NamedTuple):
    """What a cue begins with: a name and a colon, or a label beyond doubt."""

    name: str
    is_certain: bool


@dataclass
class SpeakerLabels:
    """The labels of one file, read in order.

    A speaker applies until the next label, or, in a file of which most is not labelled, until the
    end of the cue.
    """

    names: frozenset[str]
    names_after_turns: frozenset[str] = frozenset()
    continues: bool = True
    speaker: str | None = None
    _spellings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, cues: Sequence[Sequence[str]]) -> Self:
        """The labels of a file whose cues have these rows: which names are speakers in it."""
        spoken = [[row for row in rows if row.strip()] for rows in cues]
        leads = [_lead(rows[0]) for rows in spoken if rows]
        rows = [row for cue in spoken for row in cue]
        is_capitals = sum(row.isupper() for row in rows) > len(rows) / 2
        names = _names(leads, is_capitals)
        signs = sum(len(_TURN.findall(row)) for row in rows)
        known = [
            lead.name if lead and (lead.is_certain or _compared(lead.name) in names) else None
            for lead in leads
        ]
        begins_labelled = bool(known and known[0]) and len({*known} - {None}) > 1
        return cls(
            names,
            _names_after_turns(rows, signs, is_capitals),
            sum(map(bool, known)) > _MOST * len(leads) or begins_labelled or signs > 1,
        )

    def begin_cue(self) -> None:
        """Must be called before the parts of a cue's first row."""
        if not self.continues:
            self.speaker = None

    def parts(self, row: str) -> Iterator[tuple[str | None, int, str]]:
        """The row without labels, in parts: who says each, where it begins in the row, its text."""
        dash = _DASH.match(row)
        if dash and not (dash[1] and dash[1].islower()):
            self.speaker = None
        at, names = 0, self.names
        for match in [*_TURN.finditer(row), None]:
            end = match.start() if match else len(row)
            for label in _INSIDE.finditer(row, at, end):
                yield from self._part(row, at, label.start(), names)
                at = label.start()
            yield from self._part(row, at, end, names)
            if match:
                # The speaker is unknown unless a label follows.
                self.speaker, at = None, match.end()
                names = self.names | self.names_after_turns

    def _part(
        self, row: str, at: int, end: int, names: frozenset[str]
    ) -> Iterator[tuple[str | None, int, str]]:
        while match := _certain_label(row, at, end):
            self._set(next(filter(None, match.groups())))
            at = match.end()
        # Only one name: in `Marta: Jan: come here.` the second one is spoken to.
        match = _NAMED.match(row, at, end)
        if match and _compared(match[1]) in names:
            self._set(match[1])
            at = match.end()
        if (text := row[at:end]).strip():
            yield self.speaker, at, text

    def _set(self, name: str) -> None:
        known = speaker_name(name)
        self.speaker = known and self._spellings.setdefault(_compared(known), known)


def speaker_name(label: str) -> str | None:
    """The name in a label; None if the label says that the speaker is unknown."""
    name = " ".join(label.split())
    is_unknown = re.fullmatch(rf"\?|{_UNKNOWN}", name, re.IGNORECASE)
    return None if not name or is_unknown else name


def _certain_label(row: str, at: int, end: int) -> re.Match[str] | None:
    return _BRACKETED.match(row, at, end) or _NUMBERED.match(row, at, end)


def _lead(row: str) -> _Lead | None:
    turn = _FIRST_TURN.match(row)
    at = turn.end() if turn else 0
    if match := _certain_label(row, at, len(row)):
        return _Lead(next(filter(None, match.groups())), True)
    match = _NAMED.match(row, at)
    return _Lead(" ".join(match[1].split()), False) if match else None


def _names(leads: Sequence[_Lead | None], is_capitals: bool) -> frozenset[str]:
    """Which names at the beginning of cues are labels, as they are compared."""
    certain = sum(lead is not None and lead.is_certain for lead in leads)
    named = [lead.name for lead in leads if lead and not lead.is_certain]
    found = _repeated_names(named, certain, len(leads), is_capitals, _NEARLY_ALL)
    if not found:
        proper = [name for name in named if _is_name(name)]
        found = _repeated_names(proper, certain, len(leads), is_capitals, _MOST)
    return frozenset(map(_compared, found or _names_at_changes(leads)))


def _repeated_names(
    named: Sequence[str], certain: int, total: int, is_capitals: bool, least: float
) -> set[str]:
    """The names in a file of which more than a share of `least` of the cues are labelled.

    `named` has one for each cue that begins with one, and `certain` cues have labels beyond doubt.
    """
    labelled = len(named) + certain
    counts = Counter(map(_compared, named))
    evident = {_compared(name) for name in named if _is_evident(name, is_capitals)}
    sure = certain + sum(count if name in evident else count - 1 for name, count in counts.items())
    if labelled <= least * total or sure < _REPEATED * labelled:
        return set()
    is_dialogue = certain or sum(count > 1 for count in counts.values()) >= _FEWEST
    if labelled < _MORE * total and not is_dialogue:
        return set()
    return {
        name
        for name in named
        if counts[_compared(name)] > 1
        or _compared(name) in evident
        or labelled == total
        or (labelled >= _MORE * total and _is_name(name))
    }


def _names_at_changes(leads: Sequence[_Lead | None]) -> set[str]:
    """The names in a file that names the speaker only where another one begins.

    Such a file begins with a name, never has the same name twice in a row, and at least two names
    occur again. Names with digits are excluded: `Step 1:` is spoken.
    """
    named = [lead.name for lead in leads if lead and _is_name(lead.name)]
    repeated = {name for name, count in Counter(named).items() if count > 1}
    begins = bool(leads and leads[0] and leads[0].name in named)
    alternates = all(before != name for before, name in pairwise(named))
    if not begins or not alternates or len(repeated) < _FEWEST:
        return set()
    return {name for name in repeated if not any(map(str.isdigit, name))}


def _names_after_turns(rows: Sequence[str], signs: int, is_capitals: bool) -> frozenset[str]:
    """The names that are labels behind a sign for another speaker (`>> MARTA:`)."""
    after = [
        match[1]
        for row in rows
        for sign in _TURN.finditer(row)
        if (match := _NAMED.match(row, sign.end())) and _is_name(match[1])
    ]
    are_many = 2 * len(after) >= signs
    return frozenset(
        _compared(name)
        for name in after
        if (are_many and len(after) >= _FEWEST)
        or (name.isupper() and (are_many or not is_capitals))
    )


def _is_name(text: str) -> bool:
    """Whether a text looks like a name: short, and no word begins with a lower-case letter."""
    words = text.split()
    if not text[:1].isalpha() or len(text) > _LONGEST_NAME or len(words) > _MOST_WORDS:
        return False
    if _NOT_IN_NAMES.search(text):
        return False
    return all(not word[0].islower() or word in _PARTICLES for word in words)


def _is_evident(name: str, is_capitals: bool) -> bool:
    """Whether a text in front of a colon is a name even if it occurs once.

    `is_capitals` is true if the whole file is in capitals.
    """
    if _ADDRESS.fullmatch(name):
        return True
    return (
        _is_name(name) and name.isupper() and not is_capitals and len(name) > _LETTERS_OF_INITIALS
    )


def _compared(name: str) -> str:
    """A name in the form in which names are compared: `Speaker 1` and `speaker 1` are the same."""
    return " ".join(name.split()).casefold()
