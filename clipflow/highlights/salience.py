"""The selection of moments without a language model, by salience.

Each piece of speech is a row of TF-IDF weights. Its salience is its similarity to the whole talk:
the mean cosine similarity to all pieces, which is degree centrality as in LexRank. No matrix of
windows or of pairs of pieces is built, since sums over a window are differences of cumulative sums.

scikit-learn takes a second to import, so this module is imported only when it is used.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction import text as features

from clipflow.domain.transcript import PAUSE, split_words, spread_words
from clipflow.highlights.pieces import MOST_SHARED, Choice, Piece, PieceRange, Speech
from clipflow.highlights.titles import INFORMATIVE_TERMS, terms

logger = logging.getLogger(__name__)

Numbers = NDArray[np.float64]
Places = NDArray[np.intp]

# The weights of a window's quality, from 0 to 1: the salience of its speech, the pauses at its
# bounds, how near its length is to the target, and the salience of its first piece, because viewers
# decide in the first seconds whether to go on watching.
_SALIENCE, _BOUNDS, _LENGTH, _OPENING = 0.4, 0.3, 0.15, 0.15
# The quality of a bound from 0 to 1 without any pause, and within a line; a pause adds the rest.
# The quality of an end is multiplied by `_UNANSWERED` after a question, since the answer is
# missing.
_NO_PAUSE, _BROKEN, _UNANSWERED = 0.3, 0.1, 0.3
# The quality that a window loses at most for repeating what a better one says.
_REPEATING = 0.2
# Ends that are kept for each beginning. Very short lines would otherwise make too many windows.
_MAX_ENDS = 16
# Different terms that a window must have per second, and the least and the most that are required.
# Ordinary speech has twice as many; fillers and silence have fewer.
_TERMS_PER_SECOND, _FEWEST_TERMS, _ENOUGH_TERMS = 0.4, 3, 40
# A term in more than this share of at least so many pieces is a filler or a common word of the
# language, so it does not distinguish any piece.
_EVERYWHERE, _MANY_PIECES = 0.4, 20
# Characters. Shorter terms are more often function words than words of the subject.
_LONG_TERM = 4
# The share of a window's quality that depends on the requested topics, and the share of a window
# that is about them from which it counts as a whole.
_TOPICS, _TOPIC_SHARE = 0.6, 0.5
_QUESTION_MARKS = ("?", "？", "؟")


@dataclass(frozen=True)
class _Salience:
    """For each piece its terms, its row of weights, and its similarity to the whole talk (0 to
    1)."""

    terms: list[list[str]]
    weights: Any
    names: NDArray[np.str_]
    similarity: Numbers


@dataclass
class _Windows:
    """Ranges of pieces with the length of a moment, and their quality from 0 to 1."""

    first: Places
    last: Places
    start: Places
    end: Places
    quality: Numbers


def choices(
    speech: Speech, count: int, language: str | None, topics: Sequence[str] = ()
) -> list[Choice]:
    """At most `count` choices, best first, that hardly overlap and preferably differ in topic.

    Windows in which one of `topics` is said, in any inflection, come first.

    Windows with too few different terms, such as silence and fillers, are not chosen.
    """
    salience = _salience(speech, language)
    if salience is None:
        return []
    windows = _windows(speech, salience)
    if topics:
        relevance = topic_relevance(speech, topics)
        said = np.array([piece.end - piece.start for piece in speech.pieces]) * relevance
        running = np.concatenate([[0.0], np.cumsum(said)])
        share = (running[windows.last + 1] - running[windows.first]) / (windows.end - windows.start)
        windows.quality = (1 - _TOPICS) * windows.quality + _TOPICS * np.minimum(
            1.0, share / _TOPIC_SHARE
        )
    return _best(speech, salience, windows, count)


def _salience(speech: Speech, language: str | None) -> _Salience | None:
    found = [terms(piece.words) for piece in speech.pieces]
    if (language or "en").lower().partition("-")[0] == "en":
        found = [[term for term in row if term not in features.ENGLISH_STOP_WORDS] for row in found]
    often = Counter(term for row in found for term in set(row))
    most = max(_MANY_PIECES, len(found)) * _EVERYWHERE
    rare = [[term for term in row if often[term] <= most] for row in found]
    # A talk that repeats a few sentences has only common terms, so those are kept.
    found = rare if any(rare) else found
    if not any(found):
        return None
    vectorizer = features.TfidfVectorizer(analyzer=list, sublinear_tf=True)
    weights = vectorizer.fit_transform(found)
    similarity = np.asarray(weights @ np.asarray(weights.mean(axis=0)).ravel())
    # The 90th percentile instead of the maximum, because one unusual piece must not set the scale.
    best = np.quantile(similarity[similarity > 0], 0.9)
    names = vectorizer.get_feature_names_out()
    return _Salience(found, weights, names, np.minimum(1.0, similarity / best))


def _windows(speech: Speech, salience: _Salience) -> _Windows:
    pieces = speech.pieces
    starts = np.array([piece.start for piece in pieces])
    ends = np.array([piece.end for piece in pieces])
    opening, closing = _edges(pieces)
    opens = np.array([piece.opens for piece in pieces])
    closes = np.array([piece.closes for piece in pieces])
    said = (ends - starts) * salience.similarity
    running = np.concatenate([[0.0], np.cumsum(said)])
    parts = []
    for opener in np.flatnonzero(opens):
        lasts = np.arange(
            np.searchsorted(ends, starts[opener] + speech.shortest),
            np.searchsorted(ends, starts[opener] + speech.longest, side="right"),
        )
        lasts = lasts[closes[lasts]]
        length = ends[lasts] - starts[opener]
        leeway = (speech.longest - speech.shortest) / 2
        near = np.maximum(0.0, 1 - np.abs(length - speech.target) / leeway)
        quality = (
            _SALIENCE * np.minimum(1.0, (running[lasts + 1] - running[opener]) / length)
            + _BOUNDS * np.sqrt(opening[opener] * closing[lasts])
            + _LENGTH * near
            + _OPENING * salience.similarity[opener]
        )
        chosen = np.argsort(-quality, kind="stable")[:_MAX_ENDS]
        parts.append((np.full(len(chosen), opener), lasts[chosen], quality[chosen]))
    first, last, quality = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return _Windows(first, last, starts[first], ends[last], quality)


def _edges(pieces: tuple[Piece, ...]) -> tuple[Numbers, Numbers]:
    """The quality of each piece's beginning and end as a bound of a moment, from 0 to 1."""
    silences = np.array([*(piece.silence for piece in pieces), PAUSE])
    pauses = _NO_PAUSE + (1 - _NO_PAUSE) * np.minimum(1.0, silences / PAUSE)
    opens = np.array([piece.opens for piece in pieces])
    closes = np.array([piece.closes for piece in pieces])
    questions = np.array([piece.words[-1].text.endswith(_QUESTION_MARKS) for piece in pieces])
    opening = np.where(opens, pauses[:-1], _BROKEN)
    closing = np.where(closes, pauses[1:], _BROKEN) * np.where(questions, _UNANSWERED, 1.0)
    return opening, closing


def _best(speech: Speech, salience: _Salience, windows: _Windows, count: int) -> list[Choice]:
    """The best windows, one by one; each reduces the quality of those that repeat its terms."""
    found: list[Choice] = []
    quality = windows.quality.copy()
    while len(found) < count and quality.size:
        at = int(np.argmax(quality))
        if not quality[at] > -np.inf:
            break
        span = PieceRange(int(windows.first[at]), int(windows.last[at]))
        if not _has_enough(speech, salience, span):
            quality[at] = -np.inf
            continue
        found.append(_choice(speech, salience, span, quality[at]))
        quality[_share(windows, at) > float(MOST_SHARED)] = -np.inf
        quality -= _REPEATING * _repetition(salience, windows, span)
    return found


def _share(windows: _Windows, at: int) -> Numbers:
    """The overlap of each window with the one at `at`, as a share of the shorter one."""
    start = np.maximum(windows.start, windows.start[at])
    end = np.minimum(windows.end, windows.end[at])
    length = windows.end - windows.start
    shared: Numbers = np.maximum(0, end - start) / np.minimum(length, length[at])
    return shared


def _repetition(salience: _Salience, windows: _Windows, span: PieceRange) -> Numbers:
    """The mean similarity of each window's pieces to those of `span`, from 0 to 1."""
    said = np.asarray(salience.weights[span.first : span.last + 1].mean(axis=0)).ravel()
    length = float(np.linalg.norm(said)) or 1.0
    running = np.concatenate([[0.0], np.cumsum(salience.weights @ (said / length))])
    repeated: Numbers = (running[windows.last + 1] - running[windows.first]) / (
        windows.last + 1 - windows.first
    )
    return repeated


def _has_enough(speech: Speech, salience: _Salience, span: PieceRange) -> bool:
    seconds = speech.milliseconds(span.first, span.last) / 1000
    wanted = min(_ENOUGH_TERMS, max(_FEWEST_TERMS, _TERMS_PER_SECOND * seconds))
    return len(set().union(*salience.terms[span.first : span.last + 1])) >= wanted


def _choice(speech: Speech, salience: _Salience, span: PieceRange, quality: float) -> Choice:
    inside = slice(span.first, span.last + 1)
    everywhere = np.asarray(salience.weights.mean(axis=0)).ravel()
    # A term that is said here and often elsewhere names the subject better than one said once.
    weights = np.asarray(salience.weights[inside].sum(axis=0)).ravel() * np.sqrt(everywhere)
    weights *= np.minimum(1.0, np.char.str_len(salience.names.astype(str)) / _LONG_TERM)
    best = [salience.names[at] for at in np.argsort(-weights, kind="stable")[:3] if weights[at] > 0]
    telling = np.minimum(1.0, [len(row) / INFORMATIVE_TERMS for row in salience.terms[inside]])
    return Choice(
        span,
        score=round(100 * min(1.0, max(0.0, float(quality))), 1),
        why=f"About {', '.join(best)}.",
        title=speech.title(span, salience.similarity[inside] * telling),
    )


# The share of the longer term that two forms have in common at their beginning, and the fewest
# characters of that.
_COMMON, _FEWEST_COMMON = 0.65, 4
# Characters of a term that counts where a compound contains it, and how much it counts there.
_IN_COMPOUND, _COMPOUND = 5, 0.7


def topic_relevance(speech: Speech, topics: Sequence[str]) -> NDArray[np.float64]:
    """For each piece, from 0 to 1, how much it is about the topic that it is most about,
    in any inflection of its words.

    Logs topics that nobody mentions.
    """
    vectorizer = features.TfidfVectorizer(analyzer=list, sublinear_tf=True)
    weights = vectorizer.fit_transform([terms(piece.words) for piece in speech.pieces])
    names = [str(name) for name in vectorizer.get_feature_names_out()]
    relevance = np.zeros(len(speech.pieces))
    unsaid = []
    for topic in topics:
        words = terms(spread_words(split_words(topic), 0, 1))
        content = [word for word in words if word not in features.ENGLISH_STOP_WORDS] or words
        matches = np.array([[similarity(word, name) for name in names] for word in content])
        # A rare word of a phrase is more informative; a piece with all words of it comes first.
        found = weights @ (matches * vectorizer.idf_).sum(axis=0)
        best = float(found.max(initial=0.0))
        if best > 0:
            relevance = np.maximum(relevance, found / best)
        else:
            unsaid.append(topic)
    if unsaid:
        logger.warning("Nobody says anything about these topics: %s.", "; ".join(unsaid))
    return relevance


def similarity(one: str, other: str) -> float:
    """The certainty, from 0 to 1, that two terms in lower case are forms of one word.

    Without a dictionary, they count as such if they have a long beginning in common, or one
    contains the other, as in compounds.
    """
    if one == other:
        return 1.0
    short, long = sorted((one, other), key=len)
    pairs = zip(short, long, strict=False)
    common = next((n for n, (a, b) in enumerate(pairs) if a != b), len(short))
    if common >= _FEWEST_COMMON and common >= _COMMON * len(long):
        return common / len(long)
    return _COMPOUND if len(short) >= _IN_COMPOUND and short in long else 0.0
