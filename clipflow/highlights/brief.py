"""What is asked for, and what a way of choosing answers with."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Brief:
    """How many moments, how long each should be, and how long the video is, both in seconds.

    `duration_seconds` is None where no one knows: then the video ends where the speech does.
    """

    count: int
    target_seconds: float
    duration_seconds: float | Fraction | None = None


@dataclass(frozen=True)
class Span:
    """Pieces of speech `first` to `last`, both included, counted from 0."""

    first: int
    last: int


@dataclass(frozen=True)
class Choice:
    """A span that someone likes: a score from 0 to 100, why, and what to call it."""

    span: Span
    score: float
    why: str
    title: str
