"""Ids and numbers of moments that are chosen again."""

from fractions import Fraction

from clipflow.domain.shorts import Moment
from clipflow.highlights.moments import carry_over, identified


def moment(start: int, end: int, title: str = "") -> Moment:
    return Moment(start=Fraction(start), end=Fraction(end), score=50, why="", title=title)


def names(moments: list[Moment]) -> list[tuple[int | None, str | None]]:
    return [(one.index, one.id) for one in moments]


FIRST = identified([moment(0, 10, "A"), moment(20, 30, "B"), moment(40, 50, "C")])


def test_the_id_of_a_moment_is_made_of_its_first_span() -> None:
    assert names(FIRST) == [(1, "m0-10000"), (2, "m20000-30000"), (3, "m40000-50000")]
    assert identified(FIRST) == FIRST


def test_choosing_again_keeps_the_ids_of_the_same_moments() -> None:
    chosen = [moment(41, 52), moment(60, 70), moment(1, 9)]
    again = carry_over(FIRST, chosen, (), (), 5)
    assert names(again) == [(1, "m40000-50000"), (2, "m60000-70000"), (3, "m0-10000")]
    assert [one.start for one in again] == [41, 60, 1]


def test_an_edited_moment_keeps_its_number_and_is_not_dropped() -> None:
    again = carry_over(FIRST, [moment(60, 70), moment(80, 90)], {"m20000-30000"}, (), 3)
    assert names(again) == [(1, "m60000-70000"), (2, "m20000-30000"), (3, "m80000-90000")]
    assert again[1] == FIRST[1]
    # This holds also if fewer moments are requested, and if it is chosen again with another span.
    again = carry_over(FIRST, [moment(42, 49)], {"m40000-50000"}, (), 1)
    assert again == [FIRST[2]]


def test_a_refused_moment_is_not_chosen_again_and_does_not_count() -> None:
    chosen = [moment(21, 29), moment(60, 70), moment(80, 90)]
    refused = {"m20000-30000"}
    again = carry_over(FIRST, chosen, refused, refused, 2)
    assert names(again) == [(1, "m60000-70000"), (2, "m20000-30000"), (3, "m80000-90000")]


def test_no_two_moments_have_the_same_id() -> None:
    # A moment whose span has changed keeps its id. Another one at its first span gets a new id.
    grown = carry_over(FIRST[:1], [moment(4, 20)], (), (), 2)
    assert names(grown) == [(1, "m0-10000")]
    again = carry_over(grown, [moment(12, 20), moment(0, 10)], (), (), 2)
    assert len({one.id for one in again}) == 2
