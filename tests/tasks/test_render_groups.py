"""Shorts of which several share a machine, if one of them fails."""

from fractions import Fraction

import pytest
from prefect import flow

from clipflow.domain.edits import Edits
from clipflow.domain.errors import MediaRefusedError, StoppedError, TerminalError
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Moment, Short, ShortsConfig
from clipflow.jobs.render import Render
from clipflow.settings import FanOut, Placement
from tasks import children, fan_out
from tasks.child_requests import Child

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("prefect_api")]

KEYS = ShortsKeys("u-1", "v-1", "")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the child runs that are started. Short 2 fails in each of them."""
    names: list[str] = []

    def run_child(child: Child) -> None:
        names.append(child.name)
        if child.deployment == "render-shorts/clipflow":
            raise TerminalError("1 of 3 shorts failed.")
        if child.parameters["number"] == 2:
            raise MediaRefusedError("No frames.")

    def rendered(request: Render) -> Short:
        key = request.keys.short(request.number)
        return Short.made(request.number, key, request.moment, 1, None, "etag", None)

    monkeypatch.setattr(fan_out, "fan_out", lambda: FanOut(CLIPFLOW_FAN_OUT=Placement.REMOTE))
    monkeypatch.setattr(children, "run_child", run_child)
    monkeypatch.setattr(children, "_rendered", rendered)
    return names


@flow
def shorts_of_three_moments() -> list[Short]:
    moments = [
        Moment(start=Fraction(at), end=Fraction(at + 20), score=1, why="", title="", index=number)
        for number, at in enumerate((0, 30, 60), start=1)
    ]
    config = ShortsConfig.read({"segment_count": 3}, "the config")
    return fan_out.render_all(KEYS, config, moments, Edits(), force=False)


def test_each_short_of_a_failed_group_gets_its_own_run_and_error(started: list[str]) -> None:
    shorts = shorts_of_three_moments()
    assert started[0] == "v-1 shorts 1, 2, 3"
    assert sorted(started[1:]) == [
        "v-1 1: 00:00:00-00:00:20",
        "v-1 2: 00:00:30-00:00:50",
        "v-1 3: 00:01:00-00:01:20",
    ]
    assert [(short.index, short.error) for short in shorts if not short.is_made] == [
        (2, "No frames.")
    ]
    assert [short.index for short in shorts] == [1, 2, 3]


def test_a_group_that_was_cancelled_is_not_started_again(
    started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_child(child: Child) -> None:
        started.append(child.name)
        raise StoppedError("It was cancelled.")

    monkeypatch.setattr(children, "run_child", run_child)
    shorts = shorts_of_three_moments()
    assert started == ["v-1 shorts 1, 2, 3"]
    assert [short.error for short in shorts] == ["It was cancelled."] * 3
