"""How much each piece of speech is about requested topics, by TF-IDF, in any inflection.

Without a dictionary, two terms count as forms of one word if they have a long beginning in common,
or one contains the other, as in compounds. scikit-learn takes a second to import, so this module is
imported only when it is used.
"""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction import text as features

from clipflow.domain.transcript import split_words, spread_words
from clipflow.highlights.pieces import Speech
from clipflow.highlights.titles import terms

logger = logging.getLogger(__name__)

# The share of the longer term that two forms have in common at their beginning, and the fewest
# characters of that.
_COMMON, _FEWEST_COMMON = 0.65, 4
# Characters of a term that counts where a compound contains it, and how much it counts there.
_IN_COMPOUND, _COMPOUND = 5, 0.7


def topic_relevance(speech: Speech, topics: Sequence[str]) -> NDArray[np.float64]:
    """For each piece, from 0 to 1, how much it is about the topic that it is most about.

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
    """The certainty, from 0 to 1, that two terms in lower case are forms of one word."""
    if one == other:
        return 1.0
    short, long = sorted((one, other), key=len)
    pairs = zip(short, long, strict=False)
    common = next((n for n, (a, b) in enumerate(pairs) if a != b), len(short))
    if common >= _FEWEST_COMMON and common >= _COMMON * len(long):
        return common / len(long)
    return _COMPOUND if len(short) >= _IN_COMPOUND and short in long else 0.0
