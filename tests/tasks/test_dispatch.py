"""`begin-clip-generation`: its process also executes the other pending runs of the flow."""

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
from tasks import dispatch
from tasks.flow_runs import BEGIN_CLIP_GENERATION, GENERATE_CLIP
from tests.lost_runs import deployed, run_of


@pytest.fixture(autouse=True)
def deployments(prefect_api: None, records: RecordStore) -> None:
    with get_client(sync_client=True) as client:
        deployed(client, GENERATE_CLIP)


def create_run(*clips: str, state: State[None] | None = None, **more: Any) -> FlowRun:
    """Create a run, scheduled by default, that starts these clips of a new episode."""
    parameters = {
        "tenant_id": f"t-{uuid4().hex}",
        "episode_id": f"e-{uuid4().hex}",
        "clips": [{"clipId": clip} for clip in clips],
        "event_id": str(uuid4()),
    }
    return run_of(BEGIN_CLIP_GENERATION, {**parameters, **more}, state or Scheduled())


def execute(run: FlowRun) -> None:
    """Execute the run in this process."""
    run_flow(begin_clip_generation, flow_run=run)


def state_of(run: FlowRun) -> State[None]:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run.id).state
    assert state
    return state


def runs_for(clip: str) -> list[FlowRun]:
    """The flow runs that were created for the clip, which are named after it."""
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[clip]))
        )


def test_a_running_process_starts_the_clips_of_pending_runs() -> None:
    one, two, three = (f"c-{uuid4().hex}" for _ in range(3))
    first, second = create_run(one), create_run(two, three, force=True)
    execute(first)
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
    run = create_run(clips=None, request=json.dumps(detail), **ids)
    execute(create_run("any") if drained else run)
    assert state_of(run).is_completed()
    (made,) = runs_for(clip)
    [segment_parameters] = made.parameters["segments"]
    assert (segment_parameters["text"], segment_parameters["notes"]) == (
        segment["text"],
        segment["notes"],
    )
    assert "49" not in json.dumps(made.parameters["segments"])


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"tenantId": "t", "episodeId": "other"})])
def test_a_request_that_does_not_match_the_run_starts_nothing(text: str) -> None:
    run = create_run(clips=None, request=text)
    with pytest.raises(InvalidInputError):
        execute(run)
    assert state_of(run).is_failed()


def test_a_pending_run_without_due_clips_ends_in_a_named_state() -> None:
    run_without_clips = create_run(clips=None)
    execute(create_run("any"))
    assert state_of(run_without_clips).name == "NothingToGenerate"


def test_a_drained_run_does_not_start_its_clips_again_in_its_own_process() -> None:
    clip = f"c-{uuid4().hex}"
    drained_run = create_run(clip)
    execute(create_run("any"))
    execute(drained_run)
    assert state_of(drained_run).is_completed()
    assert len(runs_for(clip)) == 1


def test_a_run_does_not_fail_because_of_an_error_with_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, clip = f"c-{uuid4().hex}", f"c-{uuid4().hex}"
    first, pending = create_run(own), create_run(clip)

    def failing(*arguments: object) -> None:
        raise RuntimeError("simulated")

    monkeypatch.setattr(dispatch, "_start_requested", failing)
    execute(first)
    assert state_of(first).is_completed()
    assert len(runs_for(own)) == 1
    assert state_of(pending).is_scheduled()


def test_a_clip_continues_the_trace_of_its_own_event() -> None:
    clip = f"c-{uuid4().hex}"
    drained_run = create_run(clip)
    execute(create_run("any"))
    trace = event_trace_context(UUID(drained_run.parameters["event_id"]))
    assert runs_for(clip)[0].labels["__OTEL_TRACEPARENT"] == trace.traceparent


@pytest.mark.parametrize(
    ("state", "more"),
    [
        (Pending(), {}),
        (Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=1)), {}),
        (Scheduled(), {"tenant_id": "a#b"}),
    ],
    ids=["submitted by a worker", "not yet due", "invalid, so it fails by itself"],
)
def test_runs_that_are_not_due_or_not_valid_are_not_changed(
    state: State[None], more: dict[str, object]
) -> None:
    clip = f"c-{uuid4().hex}"
    other = create_run(clip, state=state, **more)
    execute(create_run("any"))
    assert state_of(other).type == state.type
    assert not runs_for(clip)
