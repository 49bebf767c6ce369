"""Views that a user has chosen replace those that the analysis finds."""

import pytest

from clipflow.domain.edits import Place, View
from clipflow.domain.layouts import Aspect, Layout
from clipflow.reframe.analysis import Analysis
from clipflow.reframe.director import direct
from tests.clipflow.reframe.test_speakers import samples, words

# The left person speaks all the time.
ANALYSIS = Analysis(1920, 1080, samples([True] * 10), [(0.0, 10.0)])


def centre(view: View, time: float, layout: Layout = Layout.AUTO) -> tuple[Layout, float]:
    plan = direct(ANALYSIS, layout, Aspect.TALL, words(10), views=[view])
    assert plan.sections[0].start == 0 and plan.sections[-1].end == 10
    for before, after in zip(plan.sections, plan.sections[1:], strict=False):
        assert before.end == after.start
    section = next(part for part in plan.sections if time < part.end)
    [crop] = section.crops
    return section.layout, crop.at(time)[0] + crop.width / 2


def test_a_person_is_shown_by_number_from_the_left() -> None:
    left, right = (centre(View(start=3.0, end=6.0, person=number), 4.5)[1] for number in (1, 2))
    assert left < right - 300
    view = View(start=3.0, end=6.0, person=2)
    # Before and after the view, the crop is that of the analysis.
    assert centre(view, 1.0)[1] == pytest.approx(left, abs=60)
    assert centre(view, 8.0)[1] == pytest.approx(left, abs=60)
    # A number above that of the people selects the last person.
    assert centre(View(start=3.0, end=6.0, person=9), 4.5)[1] == right


def test_a_place_is_shown_and_stays_within_the_picture() -> None:
    for x, expected in ((0.5, 960), (0.0, 304), (1.0, 1616)):
        view = View(start=0.0, end=10.0, place=Place(x=x, y=0.5))
        assert centre(view, 5.0)[1] == pytest.approx(expected, abs=2)


def test_a_layout_of_one_person_keeps_its_other_panes() -> None:
    view = View(start=2.0, end=4.0, place=Place(x=0.5, y=0.5))
    assert centre(view, 3.0, Layout.STACK)[0] is Layout.STACK
    assert centre(view, 3.0, Layout.SPLIT)[0] is Layout.CROP
