"""The fillers and silences that are taken out of a tightened short, as documents list them."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from clipflow.domain.model import Model


class RemovalKind(StrEnum):
    """What is taken out of a short."""

    FILLER = "filler"
    SILENCE = "silence"


# `w` and the number of a filler, or `p` and that of the word after a pause; words have their
# numbers in `original.words.json`.
RemovalId = Annotated[str, Field(pattern=r"^[wp](0|[1-9][0-9]{0,6})$")]


class Removal(Model):
    """One filler or silence: `start ≤ t < end` in seconds of the video.

    `word` is the number of the filler, or of the word after the silence, and `text` that word.
    """

    id: RemovalId
    kind: RemovalKind
    word: int
    text: str
    start: float
    end: float


class Tightening(Model):
    """What is taken out of a short, and what a person has put back; both in order.

    `ignored` has the ids that a person has put back, yet nothing with this id is taken out of the
    short; `seconds` is how much shorter the short is.
    """

    removed: tuple[Removal, ...] = ()
    restored: tuple[Removal, ...] = ()
    ignored: tuple[RemovalId, ...] = ()
    seconds: float = 0
