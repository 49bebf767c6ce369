"""The selection of a transcript's moments: the length and bounds of each, and its id and number.

A moment's id is its span when it was first chosen. A later selection gives a moment the id of the
one that it overlaps, and leaves those that a person has changed as they are, with their numbers.
"""

from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction
from itertools import count

from clipflow.domain.errors import NoMomentsError
from clipflow.domain.shorts import Moment
from clipflow.domain.timecode import format_timecode
from clipflow.domain.transcript import Transcript
from clipflow.highlights.pieces import MOST_SHARED, Brief, Choice, PieceRange, Speech

# The most pieces by which an end of a moment is moved to the beginning or end of a sentence.
_NEAR = 8


def pick(transcript: Transcript, brief: Brief, model: str | None = None) -> list[Moment]:
    """The best moments, best first: at most `brief.count`, possibly none.

    Their length and overlap are described at `moments`. A video shorter than the target is one
    moment with everything that is said, even if that is too short. This function must not be called
    in an event loop.

    Args:
        model: the name of a language model, in pydantic-ai's format; None selects by salience.

    Raises NoMomentsError if nothing is said in the part to choose from, and the errors of
    `language_model.choices`.
    """
    speech = Speech.of(transcript.words, brief, transcript.language)
    if not speech.pieces:
        raise NoMomentsError(
            f"No moment can be chosen: nothing is said in {_part(brief)}.",
            "Use a video with speech. If it has speech, set its language.",
        )
    if speech.length < speech.target:
        return [everything(speech)]
    return moments(speech, _choices(speech, transcript.language, brief, model), brief.count)


def _part(brief: Brief) -> str:
    if not brief.between:
        return "the video"
    start, end = map(format_timecode, brief.between)
    return f"the `range` {start} to {end} of the video"


def _choices(speech: Speech, language: str | None, brief: Brief, model: str | None) -> list[Choice]:
    # scikit-learn and pydantic-ai take a second each to import.
    if not model:
        from clipflow.highlights import salience

        return salience.choices(speech, brief.count, language, brief.topics)
    from clipflow.highlights import language_model

    return language_model.choices(speech, brief, model)


def moments(speech: Speech, choices: Iterable[Choice], count: int) -> list[Moment]:
    """The best `count` of `choices` as moments, best first; fewer if there are not as many.

    Each lasts as long as the brief allows. No two overlap by more than a tenth of the shorter one:
    of two that do, only the better one is included. A choice that cannot be fitted to that length
    is omitted.
    """
    kept: list[tuple[PieceRange, Choice]] = []
    for choice in sorted(choices, key=lambda choice: -choice.score):
        span = fitted(speech, choice.span)
        if span and is_apart(speech, span, [other for other, _ in kept]):
            kept.append((span, choice))
        if len(kept) == count:
            break
    return [_moment(speech, span, choice) for span, choice in kept]


def everything(speech: Speech) -> Moment:
    """One moment from the first word to the last, however long that is."""
    span = PieceRange(0, len(speech.pieces) - 1)
    title = speech.title(span, [1.0] * len(speech.pieces))
    return _moment(speech, span, Choice(span, 100, "It is everything that is said.", title))


def fitted(speech: Speech, span: PieceRange) -> PieceRange | None:
    """`span` extended or shortened to a moment's length; None if that is not possible.

    A span that is too long keeps its beginning. One that is too short is extended piece by piece,
    each time across the shorter silence. Both begin and end with a sentence if one is near enough.
    """
    is_long = speech.milliseconds(span.first, span.last) > speech.longest
    found = _shrunk(speech, span) if is_long else _grown(speech, span)
    return _of_sentences(speech, found) if found else None


def is_apart(speech: Speech, span: PieceRange, others: Sequence[PieceRange]) -> bool:
    """Whether `span` overlaps each of `others` by `MOST_SHARED` at most."""
    return all(_shared(speech, span, other) <= MOST_SHARED for other in others)


def _shared(speech: Speech, one: PieceRange, other: PieceRange) -> Fraction:
    pieces = speech.pieces
    start = max(pieces[one.first].start, pieces[other.first].start)
    end = min(pieces[one.last].end, pieces[other.last].end)
    shorter = min(speech.milliseconds(s.first, s.last) for s in (one, other))
    return Fraction(max(0, end - start), max(1, shorter))


def _shrunk(speech: Speech, span: PieceRange) -> PieceRange | None:
    for first in range(span.first, span.last + 1):
        lasts = [last for last in range(first, span.last + 1) if speech.fits(first, last)]
        if lasts:
            closing = [last for last in lasts if speech.pieces[last].closes]
            return PieceRange(first, (closing or lasts)[-1])
    return None


def _grown(speech: Speech, span: PieceRange) -> PieceRange | None:
    pieces = speech.pieces
    while not speech.fits(span.first, span.last):
        ways: list[tuple[float, PieceRange]] = []
        if span.last + 1 < len(pieces):
            ways.append((pieces[span.last + 1].silence, PieceRange(span.first, span.last + 1)))
        if span.first > 0:
            ways.append((pieces[span.first].silence, PieceRange(span.first - 1, span.last)))
        ways = [(s, w) for s, w in ways if speech.milliseconds(w.first, w.last) <= speech.longest]
        if not ways:
            return None
        span = min(ways, key=lambda way: way[0])[1]
    return span


def _of_sentences(speech: Speech, span: PieceRange) -> PieceRange:
    """`span`, or the nearest one that begins and ends with a sentence and has a valid length.

    Moving the beginning costs twice as much, because the choice of the beginning is more reliable.
    """
    pieces = speech.pieces
    if pieces[span.first].opens and pieces[span.last].closes:
        return span
    near = range(max(0, span.first - _NEAR), min(len(pieces), span.first + _NEAR + 1))
    ways = [
        PieceRange(first, last)
        for first in near
        if pieces[first].opens
        for last in range(max(first, span.last - _NEAR), min(len(pieces), span.last + _NEAR + 1))
        if pieces[last].closes and speech.fits(first, last)
    ]
    return min(
        ways,
        key=lambda way: 2 * abs(way.first - span.first) + abs(way.last - span.last),
        default=span,
    )


def _moment(speech: Speech, span: PieceRange, choice: Choice) -> Moment:
    return Moment(
        start=Fraction(speech.pieces[span.first].start, 1000),
        end=Fraction(speech.pieces[span.last].end, 1000),
        score=choice.score,
        why=choice.why,
        title=choice.title,
        description=choice.description,
        hashtags=choice.hashtags,
    )


# Two moments are the same if they overlap by more than this share of the shorter one.
_SAME = Fraction(1, 2)


def new_id(moment: Moment, taken: Collection[str]) -> str:
    """The id of a moment that is chosen for the first time: `m12000-18500`, in milliseconds."""
    own = f"m{round(moment.start * 1000)}-{round(moment.end * 1000)}"
    return next(id for id in (own, *(f"{own}-{n}" for n in range(2, 9999))) if id not in taken)


def identified(moments: Sequence[Moment]) -> list[Moment]:
    """The moments of a file, each with its id and its number, also if the file lacks them."""
    found: list[Moment] = []
    taken: set[str] = set()
    for place, moment in enumerate(moments, start=1):
        id = moment.id if moment.id and moment.id not in taken else new_id(moment, taken)
        taken.add(id)
        found.append(moment.model_copy(update={"id": id, "index": moment.index or place}))
    return found


def carry_over(
    previous: Sequence[Moment],
    chosen: Sequence[Moment],
    touched: Collection[str],
    refused: Collection[str],
    limit: int,
) -> list[Moment]:
    """The moments after a new selection, by their numbers.

    `previous` have ids and numbers. Those in `touched` are kept unchanged, even if they were not
    selected again. The new moments get the free numbers, best first, up to `limit` moments in
    total. `refused` moments do not count towards the limit.
    """
    kept = [moment for moment in previous if moment.id in touched]
    others = [moment for moment in previous if moment.id not in touched]
    room = max(0, limit - sum(moment.id not in refused for moment in kept))
    fresh = [m for m in chosen if not any(_is_same(m, other) for other in kept)][:room]
    numbers = (n for n in count(1) if n not in {moment.index for moment in kept})
    taken = {moment.id for moment in previous if moment.id}
    found = list(kept)
    for moment in fresh:
        same = max(others, key=lambda other: _overlap(moment, other), default=None)
        if same is not None and _is_same(moment, same):
            others.remove(same)
            id = same.id
        else:
            id = new_id(moment, taken)
            taken.add(id)
        found.append(moment.model_copy(update={"id": id, "index": next(numbers)}))
    return sorted(found, key=lambda moment: moment.index or 0)


def _is_same(one: Moment, other: Moment) -> bool:
    return _overlap(one, other) > _SAME


def _overlap(one: Moment, other: Moment) -> Fraction:
    common = min(one.end, other.end) - max(one.start, other.start)
    return max(Fraction(0), common) / min(one.end - one.start, other.end - other.start)
