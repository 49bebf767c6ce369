"""A transcript with a user's corrections of single words and replacements of phrases."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from unicodedata import category

from clipflow.domain.edits import Edits, WordSpan
from clipflow.domain.transcript import Transcript, Word, joined, split_words, spread_words

# The confidence of a word that a user has corrected.
_CERTAIN = 1.0


@dataclass(frozen=True)
class CorrectedTranscript:
    """The transcript as it is shown, with the corrections.

    `sources` has the number of the recognised word that each word comes from; `stale` the numbers
    of the corrections that are for another transcript, and are not applied.
    """

    transcript: Transcript
    sources: tuple[int, ...]
    stale: tuple[int, ...] = ()


def corrected(recognized: Transcript, edits: Edits) -> CorrectedTranscript:
    """Apply the corrections and the replacements of `edits`.

    A correction of one word takes precedence over replacements. The text that replaces several
    words is divided over their time by the lengths of its words. Speakers are kept.
    """
    words = recognized.words
    texts, stale = _corrections(words, edits)
    rules = _rules(edits.replacements)
    found: list[tuple[int, Word]] = []
    at = 0
    while at < len(words):
        if at in texts:
            found += [(at, word) for word in _spread(texts[at], words[at : at + 1])]
            at += 1
            continue
        count, shown = _replaced(words, at, rules, texts)
        found += [(at + min(n, count - 1), word) for n, word in enumerate(shown)]
        at += count
    transcript = replace(recognized, words=tuple(word for _, word in found))
    return CorrectedTranscript(transcript, tuple(number for number, _ in found), stale)


def is_stale(span: WordSpan, words: Sequence[Word]) -> bool:
    """Whether the span was made for a different transcript than `words`."""
    if span.last >= len(words):
        return True
    expected = ((span.first, span.first_word), (span.last, span.last_word))
    return any(text not in (None, words[number].text) for number, text in expected)


def _corrections(words: Sequence[Word], edits: Edits) -> tuple[Mapping[int, str], tuple[int, ...]]:
    texts: dict[int, str] = {}
    stale: list[int] = []
    for name, correction in edits.words.items():
        number = int(name)
        if number < len(words) and words[number].text == correction.original:
            texts[number] = correction.text
        else:
            stale.append(number)
    return texts, tuple(sorted(stale))


def corrected_text(text: str, words: Sequence[Word], numbers: range, edits: Edits) -> str:
    """A text about the words with these numbers, with their corrections and the replacements.

    The correction of a word applies if each occurrence of it among these words is corrected in the
    same way.
    """
    texts, _ = _corrections(words, edits)
    own: dict[str, set[str | None]] = {}
    for number in numbers:
        own.setdefault(_bare(words[number].text)[1], set()).add(texts.get(number))
    alike = {said: shown.pop() for said, shown in own.items() if len(shown) == 1}
    replacements = {said: _bare(shown)[1] for said, shown in alike.items() if shown}
    rules = _rules({**edits.replacements, **replacements})
    tokens = spread_words(split_words(text), 0, 1)
    found: list[Word] = []
    at = 0
    while at < len(tokens) and rules:
        count, shown_words = _replaced(tokens, at, rules, {})
        found += shown_words
        at += count
    shown_text = joined(found)
    return shown_text if found and shown_text != joined(tokens) else text


@dataclass(frozen=True)
class _Rule:
    """The words of a phrase, and the text that is shown instead.

    A phrase in lower case is found in any case; one with a capital only as it is written.
    """

    phrase: tuple[str, ...]
    text: str
    ignores_case: bool

    def matches(self, said: Sequence[str]) -> bool:
        folded = [word.casefold() for word in said] if self.ignores_case else list(said)
        return folded == list(self.phrase)


def _rules(replacements: Mapping[str, str]) -> list[_Rule]:
    """The longest phrase first, so that "Jon Smith" is found before "Jon"."""
    rules = []
    for phrase, text in replacements.items():
        bare = (_bare(word)[1] for word in split_words(phrase))
        words = tuple(word for word in bare if word)
        ignores_case = phrase == phrase.lower()
        folded = tuple(word.casefold() for word in words) if ignores_case else words
        if words:
            rules.append(_Rule(folded, text, ignores_case))
    return sorted(rules, key=lambda rule: -len(rule.phrase))


def _replaced(
    words: Sequence[Word], at: int, rules: Sequence[_Rule], kept: Mapping[int, str]
) -> tuple[int, list[Word]]:
    """The number of words that are replaced from `at` on, and their replacement.

    Without a matching rule, that is the word itself.
    """
    for rule in rules:
        count = len(rule.phrase)
        group = words[at : at + count]
        if len(group) < count or any(at + n in kept for n in range(count)):
            continue
        parts = [_bare(word.text) for word in group]
        if rule.matches([part[1] for part in parts]):
            said, text = parts[0][1], rule.text
            if rule.ignores_case and said[:1].isupper():
                text = text[:1].upper() + text[1:]
            # The punctuation around the phrase is kept.
            return count, _spread(f"{parts[0][0]}{text}{parts[-1][2]}", group)
    return 1, [words[at]]


def _spread(text: str, group: Sequence[Word]) -> list[Word]:
    """`text` as words in the time of `group`; each keeps its own if there are as many."""
    parts = split_words(text)
    if len(parts) == len(group):
        times = [(word.start, word.end) for word in group]
    else:
        spread = spread_words(parts, group[0].start, group[-1].end)
        times = [(word.start, word.end) for word in spread]
    return [
        group[min(n, len(group) - 1)].model_copy(
            update={"text": part, "start": start, "end": end, "score": _CERTAIN}
        )
        for n, (part, (start, end)) in enumerate(zip(parts, times, strict=True))
    ]


def _bare(text: str) -> tuple[str, str, str]:
    """A word divided into leading punctuation, the word itself and trailing punctuation."""
    letters = [n for n, character in enumerate(text) if category(character)[0] not in "PSZ"]
    if not letters:
        return "", text, ""
    first, last = letters[0], letters[-1] + 1
    return text[:first], text[first:last], text[last:]


def numbered_words(transcript: CorrectedTranscript) -> Iterator[tuple[int, Word]]:
    """Each word that is shown, with the number of the recognised word that it comes from."""
    return zip(transcript.sources, transcript.transcript.words, strict=True)
