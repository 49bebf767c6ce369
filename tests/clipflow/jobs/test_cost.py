"""The estimated cost of cutting segments, and how many machines it is divided over."""

import pytest

from clipflow.jobs.cost import divide, render_cpu_seconds

WORTH, MOST = 90, 10


@pytest.mark.parametrize(
    ("costs", "groups"),
    [
        pytest.param([12.0] * 5, [], id="little work is done in place"),
        pytest.param([400.0], [[0]], id="a long segment has a machine"),
        pytest.param([12.0] * 10, [list(range(10))], id="one machine for ten short segments"),
        pytest.param([50.0] * 4, [[0, 2], [1, 3]], id="two machines with equal work"),
        pytest.param([10.0, 170.0, 10.0], [[0, 2], [1]], id="a long segment is alone"),
        pytest.param([500.0] * 12, None, id="at most ten machines"),
    ],
)
def test_each_machine_has_work_that_is_worth_its_start(
    costs: list[float], groups: list[list[int]] | None
) -> None:
    divided = divide(costs, WORTH, MOST)
    if groups is None:
        assert len(divided) == MOST
        assert sorted(number for group in divided for number in group) == list(range(len(costs)))
    else:
        assert divided == groups


def test_with_zero_each_segment_has_a_machine() -> None:
    assert divide([1.0] * 12, 0, MOST) == [[number] for number in range(12)]


def test_short_shorts_are_made_in_place_or_in_groups() -> None:
    pixels = 1080 * 1920
    ten, sixty = (render_cpu_seconds(seconds, pixels) for seconds in (10, 60))
    assert divide([ten] * 2, WORTH, MOST) == []
    assert divide([ten] * 8, WORTH, MOST) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert divide([sixty] * 5, WORTH, MOST) == [[number] for number in range(5)]
