"""Words of Whisper's segments with the times at which they are said."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipflow.domain.transcript import PartialWord, Word, fill_times, split_words
from clipflow.speech.whisper_models import Aligner, device

_LOG = logging.getLogger(__name__)
# What NLTK reads of a sentence splitter; empty files make one that was never trained.
_SPLITTER = ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab")


def aligned(
    segment: dict[str, Any], sound: NDArray[np.float32], aligner: Aligner | None
) -> list[Word]:
    """Every word of `segment` (`text`, `start`, `end` in seconds of `sound`), in its order.

    Where the alignment finds no time for a word, or there is none, words share the time that
    their neighbours or the segment leave.
    """
    text, start, end = segment["text"], float(segment["start"]), float(segment["end"])
    found = _aligned(segment, sound, aligner) if aligner and text.strip() else []
    if aligner and "".join(one.text for one in found) != "".join(text.split()):
        _LOG.warning("Nothing aligned from %.1f s to %.1f s: %r", start, end, text)
        found = []
    return fill_times(regrouped(found, text), start, end)


def regrouped(found: Sequence[PartialWord], text: str) -> list[PartialWord]:
    """The words of `text` with the times of `found`: its characters, but in other groups.

    WhisperX parts Chinese and Japanese at every character, also inside a foreign word or before
    a full stop, and other scripts at spaces only.
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


def _aligned(
    segment: dict[str, Any], sound: NDArray[np.float32], aligner: Aligner
) -> list[PartialWord]:
    import whisperx

    # One segment at a time, as WhisperX does itself, so that we know whose words come back.
    with _one_sentence(aligner.metadata["language"]):
        result = whisperx.align([segment], aligner.model, aligner.metadata, sound, device())
    return [
        PartialWord(
            "".join(word["word"].split()), *(_number(word, of) for of in ("start", "end", "score"))
        )
        for word in result["word_segments"]
    ]


def _number(word: dict[str, Any], of: str) -> float | None:
    value = float(word.get(of, "nan"))
    return None if np.isnan(value) else value


@contextmanager
def _one_sentence(language: str) -> Iterator[None]:
    """NLTK finds a sentence splitter here, which WhisperX would download.

    It parts what is aligned into sentences, which we put together again: any splitter will do.
    """
    import nltk
    from whisperx.utils import PUNKT_LANGUAGES

    with TemporaryDirectory() as folder:
        place = Path(folder, "tokenizers", "punkt_tab", PUNKT_LANGUAGES.get(language, "english"))
        place.mkdir(parents=True)
        for name in _SPLITTER:
            (place / name).touch()
        nltk.data.path.insert(0, folder)
        try:
            yield
        finally:
            nltk.data.path.remove(folder)
