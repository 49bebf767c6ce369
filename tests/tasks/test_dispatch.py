"""A process that starts the clips of one event drains the other pending runs."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun, State
from prefect.flow_engine import run_flow
from prefect.states import Pending, Scheduled

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.events import event_trace_context
from clipflow.storage.records import RecordStore
from flows.begin_clip_generation import begin_clip_generation
from tasks.flow_runs import BEGIN_CLIP_GENERATION, GENERATE_CLIP
from tests.lost_runs import deployed, run_of


@pytest.fixture(autouse=True)
def deployments(prefect_api: None, records: RecordStore) -> None:
    with get_client(sync_client=True) as client:
        deployed(client, GENERATE_CLIP)


def pending(*clips: str, state: State[None] | None = None, **more: Any) -> FlowRun:
    """A run in `state` that starts these clips of its own episode."""
    parameters = {
        "tenant_id": f"t-{uuid4().hex}",
        "episode_id": f"e-{uuid4().hex}",
        "clips": [{"clipId": clip} for clip in clips],
        "event_id": str(uuid4()),
    }
    return run_of(BEGIN_CLIP_GENERATION, {**parameters, **more}, state or Scheduled())


def work_on(run: FlowRun) -> None:
    """Run it in this process."""
    run_flow(begin_clip_generation, flow_run=run)


def state_of(run: FlowRun) -> State[None]:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run.id).state
    assert state
    return state


def runs_for(clip: str) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[clip]))
        )


def test_the_clips_of_pending_runs_are_started_by_a_process_that_runs_already() -> None:
    one, two, three = (f"c-{uuid4().hex}" for _ in range(3))
    first, second = pending(one), pending(two, three, force=True)
    work_on(first)
    assert state_of(second).is_completed()
    assert (state_of(second).message or "").startswith("2 clips started in the process of e-")
    for clip, by in ((one, first), (two, second), (three, second)):
        (run,) = runs_for(clip)
        assert run.parameters["episode_id"] == by.parameters["episode_id"]
        assert run.parameters["force"] is (by is second)


TEMPLATE = {"__prefect_kind": "jinja", "template": "{{ 7 * 7 }}"}


@pytest.mark.parametrize("drained", [False, True], ids=["own process", "drained"])
def test_templates_in_the_text_of_an_event_are_not_rendered(drained: bool) -> None:
    clip = f"c-{uuid4().hex}"
    segment = {"startTime": 1, "endTime": 2, "text": "{{ 7 * 7 }}", "notes": json.dumps(TEMPLATE)}
    ids: dict[str, Any] = {"tenant_id": f"t-{uuid4().hex}", "episode_id": f"e-{uuid4().hex}"}
    detail = {
        "tenantId": ids["tenant_id"],
        "episodeId": ids["episode_id"],
        "clips": [{"clipId": clip, "segments": [segment | TEMPLATE], **TEMPLATE}],
        **TEMPLATE,
    }
    run = pending(clips=None, request=json.dumps(detail), **ids)
    work_on(pending("any") if drained else run)
    assert state_of(run).is_completed()
    (made,) = runs_for(clip)
    [given] = made.parameters["segments"]
    assert (given["text"], given["notes"]) == (segment["text"], segment["notes"])
    assert "49" not in json.dumps(made.parameters["segments"])


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"tenantId": "t", "episodeId": "other"})])
def test_a_request_that_is_not_the_runs_own_starts_nothing(text: str) -> None:
    run = pending(clips=None, request=text)
    with pytest.raises(InvalidInputError):
        work_on(run)
    assert state_of(run).is_failed()


def test_a_pending_run_without_due_clips_ends_in_a_named_state() -> None:
    nothing = pending(clips=None)
    work_on(pending("any"))
    assert state_of(nothing).name == "NothingToGenerate"


def test_a_drained_run_starts_nothing_twice_in_its_own_process() -> None:
    clip = f"c-{uuid4().hex}"
    late = pending(clip)
    work_on(pending("any"))
    work_on(late)
    assert state_of(late).is_completed()
    assert len(runs_for(clip)) == 1


def test_a_clip_continues_the_trace_of_its_own_event() -> None:
    clip = f"c-{uuid4().hex}"
    late = pending(clip)
    work_on(pending("any"))
    place = event_trace_context(UUID(late.parameters["event_id"]))
    assert runs_for(clip)[0].labels["__OTEL_TRACEPARENT"] == place.traceparent


@pytest.mark.parametrize(
    ("state", "more"),
    [
        (Pending(), {}),
        (Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=1)), {}),
        (Scheduled(), {"tenant_id": "a#b"}),
    ],
    ids=["a worker has it", "not yet due", "its own run says what is wrong"],
)
def test_runs_that_are_not_due_or_not_valid_are_not_changed(
    state: State[None], more: dict[str, object]
) -> None:
    clip = f"c-{uuid4().hex}"
    other = pending(clip, state=state, **more)
    work_on(pending("any"))
    assert state_of(other).type == state.type
    assert not runs_for(clip)
