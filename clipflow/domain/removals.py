"""What is taken out of a tightened short, as its record and other documents have it."""

from collections.abc import Sequence
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

    `seconds` is how much shorter the short is.
    """

    removed: tuple[Removal, ...] = ()
    restored: tuple[Removal, ...] = ()
    seconds: float = 0

    def spans(self) -> list[tuple[float, float]]:
        """What is removed, in seconds of the video; neighbours that touch are one."""
        return joined_spans([(removal.start, removal.end) for removal in self.removed])


def joined_spans(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """`spans` in order, those that touch or overlap joined."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined
