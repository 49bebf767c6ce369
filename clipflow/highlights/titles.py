"""Words as terms that can be counted, and as titles that can be shown."""

from collections.abc import Sequence
from itertools import groupby
from unicodedata import category

from clipflow.domain.transcript import Word, is_unspaced, joined

# Characters: what a phone shows of a title.
TITLE_LIMIT = 60
_ELLIPSIS = "…"
_LOOSE_ENDS = " ,;:.-–—،؛、，。；："


def terms(words: Sequence[Word]) -> list[str]:
    """The words, without case and punctuation; pairs of characters where words have no spaces."""
    found: list[str] = []
    for token in joined(words).casefold().split():
        for kind, group in groupby(token, _kind):
            run = "".join(group)
            if kind == "unspaced" and len(run) > 1:
                found += [run[at : at + 2] for at in range(len(run) - 1)]
            elif kind:
                found.append(run)
    return found


def title_of(words: Sequence[Word]) -> str:
    """`words` as a title: those that fit, and an ellipsis for the rest."""
    # A word is a character at least, so no more words than this can fit.
    first = words[: TITLE_LIMIT + 1]
    if len(first) == len(words) and len(text := joined(words)) <= TITLE_LIMIT:
        return _capitalised(text.rstrip(_LOOSE_ENDS) or text)
    fitting = [n for n in range(1, len(first)) if len(joined(first[:n])) < TITLE_LIMIT]
    if not fitting:
        return shortened(joined(first))
    return _capitalised(joined(first[: fitting[-1]]).rstrip(_LOOSE_ENDS) + _ELLIPSIS)


def shortened(text: str) -> str:
    """`text` in one line of at most `TITLE_LIMIT` characters; a word too many is left out whole."""
    text = " ".join(text.split())
    if len(text) > TITLE_LIMIT:
        head = text[:TITLE_LIMIT]
        # Where there is no space to cut at, the script has none, or it is one endless word.
        text = (head.rpartition(" ")[0] or head[:-1]).rstrip(_LOOSE_ENDS) + _ELLIPSIS
    return _capitalised(text)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _kind(character: str) -> str:
    # An apostrophe or a hyphen inside a word is of the word's.
    if category(character)[0] in "PSZC":
        return ""
    return "unspaced" if is_unspaced(character) else "spaced"
