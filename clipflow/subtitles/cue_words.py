"""Converts cues to words with times and speakers, without tags, labels and repetitions."""

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.transcript import LONGEST, Word, is_unspaced, split_words, spread_words
from clipflow.subtitles.cue_files import REMEDY, FileCue, is_only_times
from clipflow.subtitles.markup import (
    TextPiece,
    pieces_of,
    time_tag,
    voiced_rows,
    without_highlight,
)
from clipflow.subtitles.sound_descriptions import without_sounds
from clipflow.subtitles.speaker_labels import SpeakerLabels

Value = TypeVar("Value")

# Milliseconds: cues that begin closer together are spoken at the same time.
_AT_ONCE = 50
# Milliseconds a letter takes where a cue does not say when it ends: some 15 are said in a second.
_LETTER = 65
# Milliseconds from a cue's end to the next one's start: rolling captions have hardly any gap.
_ROLLING_GAP = 100
# Milliseconds: rolling captions show the same text again for a shorter time while they move.
_SHORTEST_SAID = 500
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
# whisper.cpp's label, in front of the blank with which a word begins.
_CPP_LABEL = re.compile(r"\(speaker [\d?]+\)")
# The part of a file's rows that must begin with a blank for those without one to continue a word:
# where each row is one word or less (a word may have five parts), and where rows are longer.
_BLANKS_OF_WORDS, _BLANKS_OF_ROWS = 0.2, 0.8
# Milliseconds between two parts of a word.
_WORD_GAP = 20
# Marks that are not spoken where they are alone: dashes of a dialogue, and French punctuation.
_MARKS = re.compile(r"[-–—…!?:;«»¿¡]+")


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
    cues = _with_highlights_as_times(_with_whole_words(cues))
    cleaned = [[pieces_of(row) for row in voiced_rows(cue)] for cue in cues]
    texts = [
        without_sounds(["".join(text for _, _, text in row) for row in rows]) for rows in cleaned
    ]
    labels = SpeakerLabels.of(texts)
    kept = _rows_of_one_language(texts, language)
    shown = []
    for cue, rows, said_in, numbers in zip(cues, cleaned, texts, kept, strict=True):
        labels.begin_cue()
        said = tuple(
            tuple(_without_bare_marks(_row_words(rows[n], said_in[n], labels))) for n in numbers
        )
        for row in said:
            if is_only_times(" ".join(word.text for word in row)):
                raise InvalidInputError(f"{name}, {cue.place}: its text is only times.", REMEDY)
        shown.append(_Shown(cue.start, cue.end, tuple(row for row in said if row)))
    shown.sort(key=lambda one: one.start)
    turns = _turns(_said_once([one for one in shown if one.rows]))
    return [word for turn in turns for word in _timed(turn)]


def _with_highlights_as_times(cues: Sequence[FileCue]) -> list[FileCue]:
    """`cues`, of which those that highlight one word of a text after the other are one cue.

    Where a highlight begins, the joined cue has WebVTT's tag with the time.
    """
    joined: list[FileCue] = []
    run: list[FileCue] = []
    # Where the highlights of the run's text begin, and when.
    times: dict[int, int] = {}
    text = ""
    for cue in [*cues, None]:
        plain, at = without_highlight("\n".join(cue.rows)) if cue else ("", None)
        if (
            cue
            and run
            and plain == text
            and 0 <= cue.start - run[-1].end <= _ROLLING_GAP
            and (at is None or not times or at > next(reversed(times)))
        ):
            run.append(cue)
        else:
            joined += [_timed_cue(run, text, times)] if len(times) > 1 else run
            run, text, times = [cue] if cue else [], plain, {}
        if cue and at is not None:
            times[at] = cue.start
    return joined


def _timed_cue(run: Sequence[FileCue], text: str, times: dict[int, int]) -> FileCue:
    for at, time in reversed(times.items()):
        text = f"{text[:at]}{time_tag(time)}{text[at:]}"
    return replace(run[0], end=run[-1].end, rows=tuple(text.split("\n")))


def _with_whole_words(cues: Sequence[FileCue]) -> list[FileCue]:
    """`cues`, of which none begins within a word.

    whisper.cpp may split a word between two cues. Its rows begin with a blank where a word does,
    which is considered only if the rows of the file as a whole have such blanks.
    """
    shown = [cue for cue in cues if cue.rows]
    texts = [_CPP_LABEL.sub("", cue.rows[0], count=1) for cue in shown if len(cue.rows) == 1]
    blanks = sum(text[:1].isspace() for text in texts)
    single = sum(len(text.split()) == 1 for text in texts)
    least = _BLANKS_OF_WORDS if single > _BLANKS_OF_ROWS * len(shown) else _BLANKS_OF_ROWS
    if blanks < max(1, least * len(shown)):
        return list(cues)
    whole: list[FileCue] = []
    for cue in shown:
        row = cue.rows[0] if len(cue.rows) == 1 else ""
        text = _CPP_LABEL.sub("", row, count=1)
        first, _, rest = text.partition(" ")
        if (
            not first
            or not whole
            or not 0 <= cue.start - whole[-1].end <= _WORD_GAP
            or first[0].isspace()
            or is_unspaced(first[0])
            or (rest and first[0].isupper())
        ):
            whole.append(cue)
            continue
        before = whole[-1]
        end = cue.start + (cue.end - cue.start) * len(first) // len(text) if rest else cue.end
        rows = (*before.rows[:-1], before.rows[-1] + first)
        whole[-1] = replace(before, end=end, rows=rows)
        if rest:
            label = row[: len(row) - len(text)]
            whole.append(replace(cue, start=end, rows=(f"{label} {rest}",)))
    return whole


def _without_bare_marks(words: Iterable[SaidWord]) -> list[SaidWord]:
    """`words` with dashes and other marks that stand alone attached to a word.

    The dash in front of a dialogue's row is drawn with the word behind it, `?` with the one before.
    """
    found: list[SaidWord] = []
    marks: list[SaidWord] = []
    for word in words:
        if not _MARKS.fullmatch(word.text):
            text = " ".join([*(mark.text for mark in marks), word.text])
            time = next((one.time for one in [*marks, word] if one.time is not None), None)
            found.append(replace(word, text=text, time=time))
            marks = []
        elif found and found[-1].speaker == word.speaker:
            found[-1] = replace(found[-1], text=f"{found[-1].text} {word.text}")
        else:
            marks.append(word)
    return [*found, *marks]


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


def _row_words(pieces: Sequence[TextPiece], text: str, labels: SpeakerLabels) -> Iterator[SaidWord]:
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
    alike = [(one, other) for one, other in pairs if _repeated(one, other) >= _FEW_SHARED]
    evident = 0 if _is_refrain(alike) else len(alike)
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


def _is_refrain(alike: Sequence[tuple[_Shown, _Shown]]) -> bool:
    """Whether the cues that are alike all have one text, which is said several times."""
    texts = {one.texts for pair in alike for one in pair}
    return len(texts) == 1 and all(
        one.end - one.start >= _SHORTEST_SAID for pair in alike for one in pair
    )


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
