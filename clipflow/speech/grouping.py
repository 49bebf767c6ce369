"""Characters with times, grouped into the words of a text."""

from collections.abc import Sequence

from clipflow.domain.transcript import PartialWord, split_words


def regroup(found: Sequence[PartialWord], text: str) -> list[PartialWord]:
    """The words of `text` with the times of `found`: its characters, but in other groups.

    A recogniser or an aligner may part Chinese and Japanese inside a foreign word or before a full
    stop, an English word at its hyphen, and other scripts at spaces only.
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
