"""`words.json`: a list of `{word, start, end, score, speaker}`."""

import json
from collections.abc import Iterable

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import parsed
from clipflow.domain.transcript import Word


def words_json(words: Iterable[Word]) -> str:
    """`words` as a JSON list, a line for each."""
    rows = (json.dumps(word.model_dump(), ensure_ascii=False) for word in words)
    return "[\n" + ",\n".join(rows) + "\n]\n"


def read_words(text: str | bytes, name: str) -> tuple[Word, ...]:
    """The words in `text`. Raises InvalidInputError naming `name` and the first word at fault."""
    rows = parsed(text, name)
    if not isinstance(rows, list):
        raise InvalidInputError(f"{name} is not a list of words.")
    return tuple(Word.read(row, f"{name}: word {place}") for place, row in enumerate(rows, 1))
