"""Finds text of subtitles that is not spoken: labels of speakers, and descriptions of sounds.

A label is a name with a colon, such as `MARTA:` or `[SPEAKER_00]:`. Any other text in square
brackets is a description, such as `[Music]`: subtitles for the hard of hearing and automatic
captions have nothing else in them. Round brackets and asterisks may also contain speech, so they
count only if they are alone, in capitals, or begin with the name of a sound.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
# Characters that names do not have, and the length of the longest name.
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
    """Whether a text looks like a name: short, and no word begins with a lower-case letter."""
    if len(text) > _LONGEST_NAME or _NOT_IN_NAMES.search(text):
        return False
    return all(not word[0].islower() or word in ("de", "van", "von", "al") for word in text.split())


def _is_full(name: str, count: int) -> bool:
    return count >= _FEWEST and (" " in name or name[-1].isdigit())


def _compared(name: str) -> str:
    """A name in the form in which names are compared.

    `Speaker 1` and `speaker 1` are the same; `SPEAKER_01` may be numbered differently.
    """
    return name.casefold()


# Names of sounds and of ways to speak, in the languages of most subtitles.
_SOUNDS = """
    applause applauding beep beeping bleep cheering cheers chuckle chuckles chuckling clapping
    coughing coughs crosstalk crying exhales gasp gasps giggles groans grunts inaudible indistinct
    inhales laugh laughing laughs laughter mumbles music muttering scoffs screaming screams
    shouting sigh sighing sighs silence singing sniffles sniffs sobbing sobs unclear
    unintelligible whispering whispers whistling
    applaus gelächter husten lachen lacht musik seufzt unverständlich
    applaudissements inintelligible musique rire rires soupir soupire
    aplausos ininteligible música risa risas suspira inaudível ininteligível risos suspiros
    applausi incomprensibile musica risata risate sospira
    аплодисменты вздох вздыхает музыка неразборчиво смех смеётся смеются
    音乐 笑 笑声 掌声 听不清 音楽 拍手 笑い 笑い声
"""
# Longer text behind the name of a sound is a sentence: `(laughter is good for you)`.
_MOST_WORDS = 3
# The most characters in brackets, which bounds the time that a search takes.
_LONGEST = 200
# Not `[SPEAKER_00]` nor `[Marta]:`, which are labels.
_NOT_ID = r"(?!\s*speaker[\s_-]{0,3}(?:\d{1,3}|[A-Z]|unknown|turn)\s*[\])])"
_NOT_LABEL = r"(?!\s*[:：])"
_SQUARE = re.compile(
    rf"(?:\[{_NOT_ID}[^\[\]]{{0,{_LONGEST}}}\]|【[^【】]{{0,{_LONGEST}}}】){_NOT_LABEL}",
    re.IGNORECASE,
)
_ROUND = re.compile(
    rf"(?:\({_NOT_ID}([^()]{{1,{_LONGEST}}})\)|（([^（）]{{1,{_LONGEST}}})）){_NOT_LABEL}",
    re.IGNORECASE,
)
_STARRED = re.compile(rf"(?<!\S)\*([^*\s][^*\n]{{0,{_LONGEST}}})\*")
_SOUND = re.compile(rf"\W*(?:{'|'.join(_SOUNDS.split())})\b", re.IGNORECASE)
# A word in capitals that is longer than most acronyms.
_CAPITALS = re.compile(r"[^\W\d_]{5}")
_NOTES = re.compile("[♩♪♫♬🎵🎶🎼¶]\ufe0f?")
# What may be in front of a description that has a row to itself: a dash, or who is meant.
_BEFORE_SOUND = re.compile(r"\s*(?:[-–—•]|>{2,3})?\s*(?:[^\W\d_][^:\n]{0,40}:)?\s*")
_LONGEST_BEFORE_SOUND = 60
_REST_OF_ROW = re.compile(r"[^\S\n]*(?:\n|\Z)")
_TURN_SIGN = re.compile(r">{2,}")


def without_sounds(rows: Sequence[str]) -> list[str]:
    """The rows of a cue, each as long as before, with blanks instead of what is not said.

    A row of which only punctuation is left becomes blank.
    """
    text = "\n".join(rows)
    text = _NOTES.sub(_blank, _SQUARE.sub(_blank, text))
    has_lower_case = any(map(str.islower, text))
    whole = range(len(text) - len(text.lstrip()), len(text.rstrip()))

    def is_sound(found: re.Match[str]) -> bool:
        inside = found[1] or found[2]
        capitals = inside.isupper() and has_lower_case and bool(_CAPITALS.search(inside))
        return _names_sound(inside) or capitals or _is_alone(found, text, whole)

    said = _ROUND.sub(lambda found: _blank(found) if is_sound(found) else found[0], text)
    said = _STARRED.sub(lambda found: _blank(found) if _names_sound(found[1]) else found[0], said)
    found, at = [], 0
    for row in rows:
        left = said[at : at + len(row)]
        found.append(left if left == row or any(map(str.isalnum, left)) else " " * len(row))
        at += len(row) + 1
    return found


def said_parts(texts: Iterable[str]) -> list[str]:
    """The words of a transcript, each without what is not said; empty if nothing is left of it."""
    words = [" ".join(text.split()) for text in texts]
    said = _TURN_SIGN.sub(_blank, without_sounds([" ".join(words)])[0])
    parts, at = [], 0
    for word in words:
        part = " ".join(said[at : at + len(word)].split())
        # Punctuation that belonged to a description, as in `♪ la la ♪.`
        parts.append(part if part == word or any(map(str.isalnum, part)) else "")
        at += len(word) + 1
    return parts


def _names_sound(text: str) -> bool:
    return bool(_SOUND.match(text)) and len(text.split()) <= _MOST_WORDS


def _is_alone(found: re.Match[str], text: str, whole: range) -> bool:
    """Whether nothing else is said in the cue, or in the row after a dash or a label.

    `whole` is where in `text` the cue's text begins and ends.
    """
    if found.start() <= whole.start and found.end() >= whole.stop:
        return True
    first = text.rfind("\n", 0, found.start()) + 1
    if not _REST_OF_ROW.match(text, found.end()) or found.start() - first > _LONGEST_BEFORE_SOUND:
        return False
    before = text[first : found.start()]
    return bool(before.strip()) and bool(_BEFORE_SOUND.fullmatch(before))


def _blank(found: re.Match[str]) -> str:
    return "".join("\n" if character == "\n" else " " for character in found[0])
