"""Ids and numbers of moments that are kept when moments are chosen again.

A moment's id is its span when it was first chosen. A later choosing gives a moment the id of the
one that it overlaps, and leaves those that a person has changed as they are, with their numbers.
"""

from collections.abc import Collection, Sequence
from fractions import Fraction
from itertools import count

from clipflow.domain.shorts import Moment

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
    """The moments after a new choice, by their numbers.

    `previous` have ids and numbers. Those in `touched` stay as they are, also where they were not
    chosen again; what was chosen instead takes the free numbers, best first, up to `limit` moments
    in all. `refused` moments do not count towards the limit.
    """
    kept = [moment for moment in previous if moment.id in touched]
    others = [moment for moment in previous if moment.id not in touched]
    room = max(0, limit - sum(moment.id not in refused for moment in kept))
    fresh = [m for m in chosen if not any(_is_same(m, other) for other in kept)][:room]
    numbers = (n for n in count(1) if n not in {moment.index for moment in kept})
    taken = {moment.id for moment in previous if moment.id}
    found = list(kept)
    for moment in fresh:
        same = max(others, key=lambda other: _shared(moment, other), default=None)
        if same is not None and _is_same(moment, same):
            others.remove(same)
            id = same.id
        else:
            id = new_id(moment, taken)
            taken.add(id)
        found.append(moment.model_copy(update={"id": id, "index": next(numbers)}))
    return sorted(found, key=lambda moment: moment.index or 0)


def _is_same(one: Moment, other: Moment) -> bool:
    return _shared(one, other) > _SAME


def _shared(one: Moment, other: Moment) -> Fraction:
    common = min(one.end, other.end) - max(one.start, other.start)
    return max(Fraction(0), common) / min(one.end - one.start, other.end - other.start)
