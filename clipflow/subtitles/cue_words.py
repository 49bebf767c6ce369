"""Converts cues to words with times and speakers, without tags, labels and repetitions."""

import html
import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.transcript import LONGEST, Word, split_words, spread_words
from clipflow.subtitles.cue_files import REMEDY, FileCue, is_only_times
from clipflow.subtitles.sound_descriptions import without_sounds
from clipflow.subtitles.speaker_labels import SpeakerLabels

Value = TypeVar("Value")

# Milliseconds: cues that begin closer together are spoken at the same time.
_AT_ONCE = 50
# Milliseconds a letter takes where a cue does not say when it ends: some 15 are said in a second.
_LETTER = 65
# Milliseconds from a cue's end to the next one's start: rolling captions have hardly any gap.
_ROLLING_GAP = 100
# The words in common from which a cue repeats the one before. Fewer may be a coincidence: two
# people may both say "Yes, it is."
_FEW_SHARED = 3
# Words: what rolling captions show at once is shorter.
_MOST_SHARED = 100
# The part of a file's neighbouring cues that must repeat each other for it to be rolling captions.
_ROLLING_SHARE = 0.3
# Captions that grow word by word, or have rows of two words, share fewer words with the cue before.
# They are recognised by how many cues show all of the one before and more.
_FEWEST_GROWN, _GROWN_SHARE = 3, 0.5
# Cues in two scripts that make a file one in two languages, and their part of those with two rows.
_FEWEST_PAIRS, _BOTH_SHARE = 2, 0.8
# The first word of the Unicode names of a language's letters. Other languages count as Latin.
_SCRIPT_OF_LANGUAGE = {
    **dict.fromkeys(("ar", "fa", "ur", "ps", "ug"), "ARABIC"),
    **dict.fromkeys(("be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "uk"), "CYRILLIC"),
    **dict.fromkeys(("hi", "mr", "ne"), "DEVANAGARI"),
    **dict.fromkeys(("zh", "ja", "yue"), "CJK"),
    "bn": "BENGALI",
    "el": "GREEK",
    "he": "HEBREW",
    "hy": "ARMENIAN",
    "ka": "GEORGIAN",
    "km": "KHMER",
    "ko": "HANGUL",
    "ta": "TAMIL",
    "te": "TELUGU",
    "th": "THAI",
}
# The tags of SubRip, WebVTT, ASS and HTML. Anything else in <…> is spoken (`List<String>`), unless
# it has an attribute or is closed in the same row.
_INLINE_NAMES = """
    a abbr b bdi bdo big c cite code del dfn em font i ins kbd lang mark q rp rt ruby s samp small
    span strike strong sub sup time tt u var
"""
_BLOCK_NAMES = """
    article aside blockquote body br center dd div dl dt figure footer h1 h2 h3 h4 h5 h6 head header
    hr html li main nav ol p pre section table tbody td tfoot th thead tr ul
"""
_INLINE, _BLOCKS = frozenset(_INLINE_NAMES.split()), frozenset(_BLOCK_NAMES.split())
_TAG = re.compile(
    r"< {0,3}(?P<end>/?) {0,3}(?P<name>[a-z][a-z0-9-]{0,15})(?:\.[^\s<>]*+)?"
    r"(?P<rest>\s[^<>]*+)?/? {0,3}>|\{\\[^{}]*+\}",
    re.IGNORECASE,
)
# Tags that may have anything behind their name; the others have attributes, unlike `a <b and b> c`.
_FREE = ("font", "span", "lang")
_ATTRIBUTES = re.compile(r"(?:\s+[\w:-]+\s*=\s*(?:\"[^\"]*+\"|'[^']*+'|[^\s\"'>]++))*+\s*/?\s*")
# WebVTT's time of the words behind it, and the beginning and end of a voice.
_MARK = re.compile(
    r"<((?:\d{1,4}:)?\d{1,2}:\d{2}[.,]\d{1,3})>|<v(?:\.[^\s<>]*+)?(?:\s([^<>]*+))?>|(</v>)",
    re.IGNORECASE | re.ASCII,
)
# Line ends and wide blanks of ASS; in a path \N is none.
_BLANK = re.compile(r"\\[Nh]")
_PATH = re.compile(r"(?<!\S)(?:[A-Za-z]:\\|\\\\)\S*")
_ENTITY = re.compile(r"&(?:#\d+|#x[\da-f]+|[a-z][a-z\d]*);", re.IGNORECASE)


@dataclass(frozen=True)
class SaidWord:
    """A word of a cue; `time` in milliseconds if the file has one for it."""

    text: str
    time: int | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class _Shown:
    """A cue's rows as words, and when it is shown, in milliseconds."""

    start: int
    end: int
    rows: tuple[tuple[SaidWord, ...], ...]

    @property
    def words(self) -> tuple[SaidWord, ...]:
        return tuple(word for row in self.rows for word in row)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(word.text for word in self.words)


@dataclass
class _Turn:
    """Words that are said from `start` to `end`, in milliseconds."""

    words: list[SaidWord]
    start: int
    end: int


def words_of_cues(cues: Sequence[FileCue], name: str, language: str | None = None) -> list[Word]:
    """Every word that is said in `cues`, in turn, with its time and its speaker.

    Where each cue has two rows in two scripts, one language below the other, only one is read:
    that of `language`, or else that of the first row. Raises InvalidInputError, with `name`, for a
    row that consists only of times, which are the times of a cue in a damaged file.
    """
    cleaned = [[_pieces(row) for row in _voiced_rows(cue)] for cue in cues]
    texts = [
        without_sounds(["".join(text for _, _, text in row) for row in rows]) for rows in cleaned
    ]
    labels = SpeakerLabels.of(texts)
    kept = _rows_of_one_language(texts, language)
    shown = []
    for cue, rows, said_in, numbers in zip(cues, cleaned, texts, kept, strict=True):
        labels.begin_cue()
        said = tuple(tuple(_row_words(rows[n], said_in[n], labels)) for n in numbers)
        for row in said:
            if is_only_times(" ".join(word.text for word in row)):
                raise InvalidInputError(f"{name}, {cue.place}: its text is only times.", REMEDY)
        shown.append(_Shown(cue.start, cue.end, tuple(row for row in said if row)))
    shown.sort(key=lambda one: one.start)
    turns = _turns(_said_once([one for one in shown if one.rows]))
    return [word for turn in turns for word in _timed(turn)]


def _rows_of_one_language(texts: Sequence[Sequence[str]], language: str | None) -> list[list[int]]:
    """Which rows of each cue are read, by their numbers."""
    scripts = [[_script_of(row) for row in rows] for rows in texts]
    pairs = [tuple(row) for row in scripts if len(row) == 2 and all(row)]
    both = [pair for pair in pairs if pair[0] != pair[1]]
    # Some rows have a name in another script; only a file that is like that all over has two.
    if len(both) < _FEWEST_PAIRS or len(both) < _BOTH_SHARE * max(len(pairs), len(texts) / 2):
        return [list(range(len(rows))) for rows in texts]
    wanted = None
    if language:
        wanted = _SCRIPT_OF_LANGUAGE.get(language.lower().split("-")[0], "LATIN")
    if not any(wanted in pair for pair in both):
        wanted = Counter(pair[0] for pair in both).most_common(1)[0][0]
    return [
        [n for n, script in enumerate(row) if script in (wanted, None)]
        if wanted in row
        else list(range(len(row)))
        for row in scripts
    ]


def _script_of(text: str) -> str | None:
    """The script that most words of `text` are in; None without letters."""
    found = Counter(
        script for word in split_words(text) if (script := _script_of_letter(word)) is not None
    )
    return found.most_common(1)[0][0] if found else None


def _script_of_letter(word: str) -> str | None:
    letter = next((character for character in word if character.isalpha()), None)
    if letter is None:
        return None
    name = unicodedata.name(letter, "").split(" ")[0]
    # Japanese is written in three scripts at once.
    return "CJK" if name in ("HIRAGANA", "KATAKANA", "HALFWIDTH", "FULLWIDTH") else name


def _voiced_rows(cue: FileCue) -> list[str]:
    """The cue's rows, each with the speaker that continues from the row before."""
    rows, voice = [], ""
    for row in cue.rows:
        rows.append(voice + row)
        for match in _MARK.finditer(row):
            if match[1] is None:
                voice = "" if match[3] else match[0]
    return rows


def _pieces(row: str) -> list[tuple[int | None, str | None, str]]:
    """The row's text without tags, in pieces: each with its own time and the voice that says it."""
    pieces: list[tuple[int | None, str | None, str]] = []
    time, voice, at = None, None, 0
    for match in [*_MARK.finditer(row), None]:
        text = _plain(row[at : match.start() if match else len(row)])
        if text:
            pieces.append((time, voice, text))
            time = None
        if match is None:
            break
        at = match.end()
        if match[1]:
            time = _milliseconds(match[1])
        else:
            voice = " ".join(_plain(match[2] or "").split()) or None
    return pieces


def _milliseconds(clock: str) -> int:
    *hours, minutes, seconds = re.split(r"[:]", clock.replace(",", "."))
    whole, _, decimals = seconds.partition(".")
    total = (int(hours[0]) if hours else 0) * 3600 + int(minutes) * 60 + int(whole)
    return total * 1000 + int(decimals.ljust(3, "0"))


def _plain(text: str) -> str:
    """`text` without tags, and with what its entities mean."""
    text = _without_tags(text)
    blank = "".join(
        part if _PATH.fullmatch(part) else _BLANK.sub(" ", part)
        for part in re.split(r"(\s+)", text)
    )
    return _ENTITY.sub(lambda found: html.unescape(found[0]), blank)


def _without_tags(text: str) -> str:
    """`text` without tags; those of paragraphs and the like become blanks."""
    if "<" not in text and "{" not in text:
        return text
    closed = {found["name"].lower() for found in _TAG.finditer(text) if found["end"]}

    def instead(found: re.Match[str]) -> str:
        if found["name"] is None:
            return ""
        name, rest = found["name"].lower(), found["rest"] or ""
        is_known = name in _INLINE or name in _BLOCKS or name in closed
        has_attributes = bool(_ATTRIBUTES.fullmatch(rest))
        if name not in _FREE and not (has_attributes and (is_known or "=" in rest)):
            return found[0]
        return " " if name in _BLOCKS else ""

    return _TAG.sub(instead, text)


def _row_words(
    pieces: Sequence[tuple[int | None, str | None, str]], text: str, labels: SpeakerLabels
) -> Iterator[SaidWord]:
    """The words of one row, of whose pieces `text` is said.

    `labels` has the speaker of the row before, and is updated.
    """
    begins, times, voices = 0, [], []
    for time, voice, part in pieces:
        if time is not None:
            times.append((begins, time))
        voices.append((begins, voice))
        begins += len(part)
    for speaker, start, part in labels.parts(text):
        for token in re.finditer(r"\S+", part):
            at = start + token.start()
            for word in split_words(token[0]):
                _, voice = _last_until(at, voices) or (0, None)
                place, time = _last_until(at, times) or (0, None)
                # A time in the middle of a word, as karaoke has it, is not the word's own.
                is_own = not text[place:at].strip()
                yield SaidWord(word, time if is_own else None, voice or speaker)
                at += len(word)


def _last_until(at: int, values: Sequence[tuple[int, Value]]) -> tuple[int, Value] | None:
    """The last of `values`, which are sorted by their place, whose place is not after `at`."""
    count = bisect_right(values, at, key=lambda value: value[0])
    return values[count - 1] if count else None


def _said_once(shown: Sequence[_Shown]) -> list[_Shown]:
    """`shown` without what rolling captions repeat of the cue before."""
    pairs = [(one, other) for one, other in pairwise(shown) if _follows(one, other)]
    evident = sum(_repeated(one, other) >= _FEW_SHARED for one, other in pairs)
    grown = sum(_grows(one, other) for one, other in pairs)
    grows = grown >= max(_FEWEST_GROWN, _GROWN_SHARE * len(pairs))
    if not grows and evident < max(1, _ROLLING_SHARE * len(pairs)):
        return list(shown)
    said = list(shown[:1])
    for before, one in pairwise(shown):
        count = _repeated(before, one) if _follows(before, one) else 0
        said.append(replace(one, rows=(one.words[count:],)))
    return [one for one in said if one.words]


def _follows(before: _Shown, one: _Shown) -> bool:
    return before.start < one.start <= before.end + _ROLLING_GAP


def _grows(before: _Shown, one: _Shown) -> bool:
    """Whether `one` shows all of `before`, or its last rows, and more: a word, or another row."""
    count = _repeated(before, one)
    whole_rows = {sum(map(len, one.rows[:rows])) for rows in range(1, len(one.rows))}
    return 0 < count < len(one.texts) and (count == len(before.texts) or count in whole_rows)


def _repeated(before: _Shown, one: _Shown) -> int:
    """How many words `one` begins with that are shown already: whole rows, or nearly all of it."""
    old, new = before.texts, one.texts
    ends_of_rows = {sum(map(len, one.rows[:count])) for count in range(1, len(one.rows) + 1)}
    rows_before = {sum(map(len, before.rows[-count:])) for count in range(1, len(before.rows) + 1)}
    for count in range(min(len(old), len(new), _MOST_SHARED), 0, -1):
        if old[-count:] != new[:count]:
            continue
        whole_rows = count in ends_of_rows and count in rows_before
        grows = count == len(old)
        slides = count >= _FEW_SHARED and 2 * count >= len(new)
        if whole_rows or grows or slides:
            return count
    return 0


def _turns(shown: Sequence[_Shown]) -> list[_Turn]:
    """The words of one cue after the other, each ending where the next one begins."""
    turns: list[_Turn] = []
    for one in shown:
        words = list(one.words)
        guessed = min(one.start + _LETTER * len("".join(one.texts)), LONGEST * 1000)
        end = one.end if one.end > one.start else guessed
        if turns and one.start - turns[-1].start < _AT_ONCE:
            before = turns[-1]
            if [word.text for word in before.words[-len(words) :]] != list(one.texts):
                before.words.extend(words)
            before.end = max(before.end, end)
        else:
            turns.append(_Turn(words, one.start, end))
    for before, following in pairwise(turns):
        before.end = min(before.end, following.start)
    return turns


def _timed(turn: _Turn) -> Iterator[Word]:
    """The turn's words; those without a time share what lies between their neighbours' times."""
    words, start, end = turn.words, turn.start, turn.end
    starts: list[tuple[int, int]] = [(0, start)]
    for place, known in enumerate(words):
        # A time outside of its cue, or before the time of the word before it, is an error.
        if known.time is not None and max(start, starts[-1][1]) <= known.time <= end:
            if place == 0:
                starts = []
            starts.append((place, known.time))
    for (first, begins), (last, stops) in pairwise([*starts, (len(words), end)]):
        part = words[first:last]
        timed = spread_words([word.text for word in part], begins / 1000, stops / 1000)
        for word, said in zip(timed, part, strict=True):
            yield word.model_copy(update={"speaker": said.speaker})
