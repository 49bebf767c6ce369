"""Tightening of a short: deciding what is taken out of its window, and storing the list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from clipflow.domain.corrections import CorrectedTranscript, numbered_words
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.removals import RemovalKind, Tightening
from clipflow.domain.shorts import Moment
from clipflow.domain.timeline import Timeline, TimeRange
from clipflow.domain.transcript import Transcript, Word, joined
from clipflow.jobs.segment import MADE_FROM, checkpoint, is_made_from
from clipflow.media.loudness import measure_levels
from clipflow.media.window import Window
from clipflow.speech.tightening import (
    LEVELS_PER_SECOND,
    Cut,
    Loudness,
    decide,
    restorable,
    spoken_words,
)
from clipflow.storage.objects import ObjectHead, ObjectStore

_LARGEST_LIST_BYTES = 1 << 20


@dataclass(frozen=True)
class SpokenMoment:
    """What is said in a moment: `recognized` and `shown` are of the whole video."""

    moment: Moment
    recognized: Transcript
    shown: CorrectedTranscript

    @property
    def words(self) -> tuple[Word, ...]:
        """The words that are shown, with times from the moment's start."""
        return self._within(self.shown.transcript)

    @property
    def recognized_words(self) -> tuple[Word, ...]:
        """The words as they were recognised, with times from the moment's start."""
        return self._within(self.recognized)

    def words_without(self, numbers: Sequence[int]) -> tuple[Word, ...]:
        """`words` without those that come from the recognised words with these numbers."""
        left = (word for number, word in numbered_words(self.shown) if number not in numbers)
        return self._within(Transcript(tuple(left)))

    def _within(self, transcript: Transcript) -> tuple[Word, ...]:
        return transcript.within(float(self.moment.start), float(self.moment.end)).words


@dataclass(frozen=True)
class Tightened:
    """The parts of a window that remain, the words that are shown in them, and the removals.

    `put_back` has the ids of the removals that a person has put back and that would be made.
    """

    timeline: Timeline
    words: tuple[Word, ...]
    tightening: Tightening
    cuts: tuple[Cut, ...]
    put_back: frozenset[str]


def still_restored(restored: Mapping[str, str], words: Sequence[Word]) -> list[str]:
    """The ids of the removals that a person has put back, without those of another transcript."""
    numbers = {id: int(id[1:]) for id in restored}
    return sorted(
        id
        for id, number in numbers.items()
        if number < len(words) and words[number].text == restored[id]
    )


def tighten(
    window: Window, spoken: SpokenMoment, frames: Sequence[Fraction], restored: Sequence[str]
) -> Tightened | None:
    """The parts of the moment in `window` that remain; None if nothing is or could be taken out.

    `frames` are the sorted times at which a frame is shown, in seconds from the moment's start.
    `restored` are the ids of removals that a person has put back. Raises the errors of
    `measure_levels`.
    """
    span = TimeRange(window.span.start, window.span.end)
    words = spoken_words(
        spoken.recognized.words, _texts(spoken.shown), span, spoken.recognized.language
    )
    if not words:
        return None
    origin = window.origin
    levels = measure_levels(window.path, origin, origin + span.duration, LEVELS_PER_SECOND)
    loudness, grid = Loudness(levels, words), [*frames, span.duration]
    cuts = decide(words, grid, loudness, restored)
    back = restorable(words, grid, loudness, restored)
    # Fillers beside each other may be possible to take out only together.
    known = {cut.id for cut in (*back, *(decide(words, grid, loudness) if restored else ()))}
    if not cuts and not known:
        return None
    timeline = Timeline.without(cuts, span.duration)
    fillers = [cut.word.number for cut in cuts if cut.kind is RemovalKind.FILLER]
    return Tightened(
        timeline,
        tuple(timeline.words(spoken.words_without(fillers))),
        Tightening(
            removed=tuple(cut.removal(span.start) for cut in cuts),
            restored=tuple(cut.removal(span.start) for cut in back),
            seconds=round(float(span.duration - timeline.duration), 3),
        ),
        tuple(cuts),
        frozenset(restored) & known,
    )


def _texts(shown: CorrectedTranscript) -> dict[int, str]:
    """The text that is shown for each recognised word, by its number; none for hidden words."""
    texts: dict[int, list[Word]] = {}
    for number, word in numbered_words(shown):
        texts.setdefault(number, []).append(word)
    return {number: joined(words) for number, words in texts.items()}


def store_tightening(
    keys: ShortsKeys,
    number: int,
    tightening: Tightening,
    etag: str,
    made_from: str,
    objects: ObjectStore,
) -> None:
    """Store the list of what is taken out of a short, with the fingerprint of the short."""
    text = tightening.model_dump_json(indent=1)
    metadata = checkpoint(etag, made_from)
    objects.put_text(text, keys.tightening(number), metadata, "application/json")


def stored_tightening(
    keys: ShortsKeys, number: int, short: ObjectHead, objects: ObjectStore
) -> Tightening | None:
    """The list of what is taken out of the stored short; None if the list is of another version."""
    key = keys.tightening(number)
    head = objects.head(key)
    if head is None or not is_made_from(head, short.metadata.get(MADE_FROM, "")):
        return None
    return Tightening.model_validate_json(objects.data(key, _LARGEST_LIST_BYTES))
