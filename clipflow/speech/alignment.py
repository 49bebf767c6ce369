"""Word times by forced alignment: the interface of aligners, and the one for English.

Whisper derives word times from its attention, and their starts are 80 ms off in the median. An
aligner takes the words and the sound, and finds when each word is said.
`regroup` maps the times of characters to the words of a text.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

from clipflow.domain.transcript import PartialWord, Word, split_words, spread_words
from clipflow.media.isolation import isolated
from clipflow.speech.audio import RATE, Samples

logger = logging.getLogger(__name__)

# Words are aligned in runs: the longest run, and the pause that ends one, in seconds. In much
# longer runs the search finds no path.
_LONGEST_RUN = 15.0
_PAUSE = 0.6
# Seconds of sound before a run's first word and after its last, as Whisper may be that far off.
_MARGIN = 0.5
# PocketSphinx's search beams, tried in turn: a wider one takes longer, and finds paths that a
# narrower one drops.
_BEAMS = (1e-48, 1e-80, 1e-120)
_FRAMES_PER_SECOND = 100
# Silence and noise (`<sil>`, `[NOISE]`, `++breath++`) beside the words of the dictionary.
_NOT_A_WORD = re.compile(r"[<\[+]")
# A word's second and further pronunciations: `the(2)`.
_PRONUNCIATION = re.compile(r"\(\d+\)$")
_AROUND = re.compile(r"^[^a-z0-9]+|[^a-z0-9]+$")
# Seconds that a word which was not aligned gets at least, if its neighbours can spare them.
_SHORTEST = 0.1


class Aligner(Protocol):
    """Finds when words are said."""

    def align(self, words: Sequence[Word], sound: Samples) -> list[Word]:
        """The same words in the same order, with better `start` and `end`.

        Times are in seconds from the first sample of `sound`.
        """


def align_apart(aligner: Aligner, words: Sequence[Word], sound: Samples) -> list[Word]:
    """`aligner.align` in a process of its own, so that other threads go on meanwhile.

    PocketSphinx holds Python's lock while it searches.
    """
    return isolated("the recognised words", _align, aligner, words, sound) if words else []


def _align(aligner: Aligner, words: Sequence[Word], sound: Samples) -> list[Word]:
    return aligner.align(words, sound)


def find_aligner(language: str) -> Aligner | None:
    """The aligner for a language; None if there is none, and the recogniser's times are kept."""
    return PocketSphinxAligner() if language == "en" else None


class PocketSphinxAligner:
    """Aligns English words with PocketSphinx's own acoustic model and dictionary.

    Words that the dictionary lacks are placed between those that are aligned. Not thread-safe.
    """

    def __init__(self) -> None:
        self._decoders: dict[float, Any] = {}

    def align(self, words: Sequence[Word], sound: Samples) -> list[Word]:
        """See `Aligner`."""
        runs = list(_runs(words))
        length = len(sound) / RATE
        aligned: list[Word] = []
        for run, following in pairwise([*runs, None]):
            assert run
            earliest = aligned[-1].end if aligned else 0.0
            latest = following[0].start if following else length
            first = max(earliest, run[0].start - _MARGIN)
            last = min(latest, run[-1].end + _MARGIN)
            aligned += self._align_run(run, sound, first, last)
        return aligned

    def _align_run(
        self, run: Sequence[Word], sound: Samples, first: float, last: float
    ) -> list[Word]:
        entries = [_entry(word.text) for word in run]
        known = [place for place, entry in enumerate(entries) if self._knows(entry)]
        samples = sound[round(first * RATE) : round(last * RATE)]
        spans = self._find([entries[place] for place in known], samples)
        if not spans:
            return list(run)
        times = {
            place: (round(first + start, 3), round(first + end, 3))
            for place, (start, end) in zip(known, spans, strict=True)
        }
        return _placed(run, times)

    def _find(self, entries: Sequence[str], samples: Samples) -> list[tuple[float, float]]:
        """When each of `entries` is said in `samples`, in seconds; empty if no path is found."""
        if not entries or not len(samples):
            return []
        for beam in _BEAMS:
            decoder = self._decoder(beam)
            decoder.set_align_text(" ".join(entries))
            # Resets the noise estimate, so that no run depends on the one before.
            decoder.reinit_feat()
            decoder.start_utt()
            decoder.process_raw(samples.astype("<i2", copy=False).tobytes(), full_utt=True)
            decoder.end_utt()
            found = [one for one in decoder.seg() or () if not _NOT_A_WORD.match(one.word)]
            if [_PRONUNCIATION.sub("", one.word) for one in found] == list(entries):
                return [
                    (one.start_frame / _FRAMES_PER_SECOND, (one.end_frame + 1) / _FRAMES_PER_SECOND)
                    for one in found
                ]
        logger.debug("Not aligned: %s", " ".join(entries))
        return []

    def _knows(self, entry: str) -> bool:
        return bool(entry) and self._decoder(_BEAMS[0]).lookup_word(entry) is not None

    def _decoder(self, beam: float) -> Any:
        if beam not in self._decoders:
            # Imported late, because most flows do not need it.
            from pocketsphinx import Decoder

            self._decoders[beam] = Decoder(
                loglevel="FATAL",
                samprate=RATE,
                frate=_FRAMES_PER_SECOND,
                lm=None,
                # The second search, over a lattice, omits words at the end.
                bestpath=False,
                beam=beam,
                wbeam=beam,
                pbeam=beam,
            )
        return self._decoders[beam]


def _runs(words: Sequence[Word]) -> Iterator[list[Word]]:
    run: list[Word] = []
    for word in words:
        pause = word.start - run[-1].end if run else 0.0
        if run and (pause >= _PAUSE or word.end - run[0].start > _LONGEST_RUN):
            yield run
            run = []
        run.append(word)
    if run:
        yield run


def _entry(text: str) -> str:
    """A word as the dictionary spells it: in lower case, without punctuation around it."""
    return _AROUND.sub("", text.lower().replace("’", "'"))


def _placed(run: Sequence[Word], times: dict[int, tuple[float, float]]) -> list[Word]:
    """The words of `run`: those with an entry in `times` get it, the others lie between them."""
    placed: list[Word] = []
    waiting: list[Word] = []
    for place, word in enumerate(run):
        if place not in times:
            waiting.append(word)
            continue
        start, end = times[place]
        following = word.model_copy(update={"start": start, "end": end})
        placed = _between(placed, waiting, following)
        waiting = []
        placed.append(following)
    return _between(placed, waiting, None)


def _between(placed: list[Word], waiting: Sequence[Word], following: Word | None) -> list[Word]:
    """`placed`, followed by `waiting`, which end before `following` starts.

    If the aligned words on both sides leave them too little time, they get the end of the word
    before. Its start stays, as captions highlight words by their starts.
    """
    if not waiting:
        return placed
    start, end = waiting[0].start, waiting[-1].end
    if placed:
        start = max(start, placed[-1].end)
    if following:
        end = following.start
        start = min(start, end)
    end = max(start, end)
    needed = _SHORTEST * len(waiting)
    if placed and end - start < needed:
        before = placed[-1]
        start = max((before.start + before.end) / 2, end - needed)
        start = min(start, before.end)
        placed[-1] = before.model_copy(update={"end": round(start, 3)})
    spread = spread_words([word.text for word in waiting], start, end)
    times = [{"start": one.start, "end": one.end} for one in spread]
    return placed + [
        word.model_copy(update=time) for word, time in zip(waiting, times, strict=True)
    ]


def regroup(found: Sequence[PartialWord], text: str) -> list[PartialWord]:
    """The words of `text` with the times of `found`, which has the same characters in other groups.

    A recogniser or an aligner may split Chinese and Japanese inside a foreign word or before a
    full stop, an English word at its hyphen, and other scripts at spaces only.
    """
    characters = [character for one in found for character in _characters(one)]
    words, at = [], 0
    for word in split_words(text):
        known = [one for one in characters[at : at + len(word)] if one.start is not None]
        at += len(word)
        scores = [one.score for one in known if one.score is not None]
        words.append(
            PartialWord(
                word,
                known[0].start if known else None,
                known[-1].end if known else None,
                round(sum(scores) / len(scores), 3) if scores else None,
            )
        )
    return words


def _characters(one: PartialWord) -> list[PartialWord]:
    """The characters of a word, each with its share of the word's time."""
    if one.start is None or one.end is None:
        return [PartialWord(character) for character in one.text]
    each = (one.end - one.start) / len(one.text)
    return [
        PartialWord(
            character,
            round(one.start + place * each, 3),
            round(one.start + (place + 1) * each, 3),
            one.score,
        )
        for place, character in enumerate(one.text)
    ]
