"""The best moments without a language model: what the talk keeps coming back to, well parted.

Each piece of speech is a row of TF-IDF weights; its salience is its similarity to the whole talk
(the mean cosine to every piece: degree centrality, as in LexRank). No matrix of windows or of
pieces is built: sums over a window are differences of running sums.

scikit-learn takes a second to import, so this module is imported only where it is used.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction import text as features

from clipflow.domain.transcript import PAUSE
from clipflow.highlights.pieces import MOST_SHARED, Choice, Piece, PieceRange, Speech
from clipflow.highlights.titles import TELLING, terms

Numbers = NDArray[np.float64]
Places = NDArray[np.intp]

# What a window's quality is made of, from 0 to 1: what is said, how it is parted from the rest, how
# near it is to the target, and how it opens, since the first seconds decide who stays.
_SAID, _PARTED, _LENGTH, _OPENING = 0.4, 0.3, 0.15, 0.15
# The quality of a place to part at: without any pause, and where a line is broken; the rest is the
# pause's. An end on a question lacks the answer.
_NO_PAUSE, _BROKEN, _UNANSWERED = 0.3, 0.1, 0.3
# What a window loses for saying again what a better one says.
_REPEATING = 0.2
# Ends tried for each beginning, so that very short lines do not make too many windows.
_MOST_ENDS = 16
# Different terms a window must have: so many a second, and at least and at most so many. Ordinary
# speech has twice as many; fillers and silences do not.
_TERMS_PER_SECOND, _FEWEST_TERMS, _ENOUGH_TERMS = 0.4, 3, 40
# What is said in more than this part of the pieces, where they are many, is a filler or of the
# language, whichever it is: it says nothing of one place.
_EVERYWHERE, _MANY_PIECES = 0.4, 20
# Characters: shorter terms are the words of a language more often than of a subject.
_LONG_TERM = 4
_QUESTION_MARKS = ("?", "？", "؟")


@dataclass(frozen=True)
class _Salience:
    """Of each piece: its terms, its row of weights, its likeness to the whole (0 to 1)."""

    terms: list[list[str]]
    weights: Any
    names: NDArray[np.str_]
    likeness: Numbers


@dataclass
class _Windows:
    """Runs of pieces that are long enough and not too long, and their quality from 0 to 1."""

    first: Places
    last: Places
    start: Places
    end: Places
    quality: Numbers


def choices(speech: Speech, count: int, language: str | None) -> list[Choice]:
    """At most `count` choices, best first, hardly overlapping, each about something else if it can.

    Windows with nothing to them, as silences and fillers, are none.
    """
    salience = _salience(speech, language)
    if salience is None:
        return []
    return _best(speech, salience, _windows(speech, salience), count)


def _salience(speech: Speech, language: str | None) -> _Salience | None:
    found = [terms(piece.words) for piece in speech.pieces]
    if (language or "en").lower().partition("-")[0] == "en":
        found = [[term for term in row if term not in features.ENGLISH_STOP_WORDS] for row in found]
    often = Counter(term for row in found for term in set(row))
    most = max(_MANY_PIECES, len(found)) * _EVERYWHERE
    rare = [[term for term in row if often[term] <= most] for row in found]
    # A talk that says the same few sentences over and over has nothing but what is everywhere.
    found = rare if any(rare) else found
    if not any(found):
        return None
    vectorizer = features.TfidfVectorizer(analyzer=list, sublinear_tf=True)
    weights = vectorizer.fit_transform(found)
    likeness = np.asarray(weights @ np.asarray(weights.mean(axis=0)).ravel())
    # Of the best tenth the least, so that one odd piece does not set the measure.
    best = np.quantile(likeness[likeness > 0], 0.9)
    names = vectorizer.get_feature_names_out()
    return _Salience(found, weights, names, np.minimum(1.0, likeness / best))


def _windows(speech: Speech, salience: _Salience) -> _Windows:
    pieces = speech.pieces
    starts = np.array([piece.start for piece in pieces])
    ends = np.array([piece.end for piece in pieces])
    opening, closing = _edges(pieces)
    opens = np.array([piece.opens for piece in pieces])
    closes = np.array([piece.closes for piece in pieces])
    said = (ends - starts) * salience.likeness
    running = np.concatenate([[0.0], np.cumsum(said)])
    parts = []
    for opener in np.flatnonzero(opens):
        lasts = np.arange(
            np.searchsorted(ends, starts[opener] + speech.shortest),
            np.searchsorted(ends, starts[opener] + speech.longest, side="right"),
        )
        lasts = lasts[closes[lasts]]
        length = ends[lasts] - starts[opener]
        near = 1 - np.abs(length - speech.target) / (speech.target / 2)
        quality = (
            _SAID * np.minimum(1.0, (running[lasts + 1] - running[opener]) / length)
            + _PARTED * np.sqrt(opening[opener] * closing[lasts])
            + _LENGTH * near
            + _OPENING * salience.likeness[opener]
        )
        chosen = np.argsort(-quality, kind="stable")[:_MOST_ENDS]
        parts.append((np.full(len(chosen), opener), lasts[chosen], quality[chosen]))
    first, last, quality = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return _Windows(first, last, starts[first], ends[last], quality)


def _edges(pieces: tuple[Piece, ...]) -> tuple[Numbers, Numbers]:
    """How good each piece is to open with and to close with, from 0 to 1."""
    silences = np.array([*(piece.silence for piece in pieces), PAUSE])
    pauses = _NO_PAUSE + (1 - _NO_PAUSE) * np.minimum(1.0, silences / PAUSE)
    opens = np.array([piece.opens for piece in pieces])
    closes = np.array([piece.closes for piece in pieces])
    questions = np.array([piece.words[-1].text.endswith(_QUESTION_MARKS) for piece in pieces])
    opening = np.where(opens, pauses[:-1], _BROKEN)
    closing = np.where(closes, pauses[1:], _BROKEN) * np.where(questions, _UNANSWERED, 1.0)
    return opening, closing


def _best(speech: Speech, salience: _Salience, windows: _Windows, count: int) -> list[Choice]:
    """The best windows, one by one; what each one says counts less in those after it."""
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
    """Which part of the shorter one each window shares with the one at `at`."""
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
    # Said here, and often elsewhere too: that names a subject better than what is said once.
    weights = np.asarray(salience.weights[inside].sum(axis=0)).ravel() * np.sqrt(everywhere)
    weights *= np.minimum(1.0, np.char.str_len(salience.names.astype(str)) / _LONG_TERM)
    best = [salience.names[at] for at in np.argsort(-weights, kind="stable")[:3] if weights[at] > 0]
    telling = np.minimum(1.0, [len(row) / TELLING for row in salience.terms[inside]])
    return Choice(
        span,
        score=round(100 * min(1.0, max(0.0, float(quality))), 1),
        why=f"About {', '.join(best)}.",
        title=speech.title(span, salience.likeness[inside] * telling),
    )
