"""Finds text of subtitles that describes a sound, such as `[Music]`, and is not spoken.

Text in square brackets is a description unless it is a speaker's label: subtitles for the hard of
hearing and automatic captions have nothing else in them. Round brackets and asterisks may also
contain speech, so they count only if they are alone, in capitals, or begin with the name of a
sound.
"""

import re
from collections.abc import Iterable, Sequence

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
_NOT_ID = r"(?!\s*speaker[\s_-]{0,3}(?:\d{1,3}|[A-Z]|unknown|turn|\?)\s*[\])])"
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
