"""Child runs: their parameters, their errors in the parent, and when they are no longer needed."""

import json
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect import flow, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Crashed, Running

from clipflow.domain.brands import Brand
from clipflow.domain.clips import ExtractInput, Segment
from clipflow.domain.edits import Place, View
from clipflow.domain.errors import (
    ClipflowError,
    FailureCode,
    InvalidInputError,
    MachineLostError,
    StoppedError,
    StorageUnavailableError,
    TerminalError,
)
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.shorts import Moment, ShortsConfig
from clipflow.jobs.clips import Cut, CutGroup
from clipflow.jobs.render import Render
from clipflow.jobs.segment import SegmentPlan
from clipflow.media.output_format import common_format
from clipflow.media.probe import probe_source
from clipflow.media.source import LocalSource
from clipflow.media.window import Span
from clipflow.storage.objects import ObjectHead
from clipflow.storage.records import RecordStore
from tasks.child_requests import (
    cut_of_child,
    extract_child,
    record_tag,
    render_child,
    render_of_child,
    within_limit,
)
from tasks.children import ChildRunGroup, child_run_group
from tasks.flow_runs import error_of, this_run
from tasks.recovery import ADOPTION_GRACE, is_needed
from tests.lost_runs import run_of
from tests.made_media import make_source
from tests.programs import free_port

pytestmark = pytest.mark.usefixtures("prefect_api")


def planned_cut(folder: Path) -> Cut:
    """A cut with values that JSON does not have."""
    # A container clock that is coarser than a sample, and a frame rate that is not an integer.
    path = make_source(folder / "main.mkv", rate=Fraction(30000, 1001), seconds=3)
    source = probe_source(LocalSource(path))
    segment = Segment.read({"startTime": "00:00:01.033", "endTime": 2}, "a segment")
    request = ExtractInput(tenant_id="t", episode_id="e", clip_id="c", segment=segment, index=3)
    head = ObjectHead("e/tracks/main.mkv", "e", 10, {})
    span = Span(segment.start_time, segment.end_time)
    plan = SegmentPlan("e/clips/c/segments/3.mp4", head, source, span, common_format([source]))
    return Cut(request, plan)


def test_a_plan_is_unchanged_after_serialization(tmp_path: Path) -> None:
    cut = planned_cut(tmp_path)
    parameters = extract_child(CutGroup((cut,)), force=False).parameters
    names = ("segment", "index", "plan")
    keys = ClipKeys(*(parameters[name] for name in ("tenant_id", "episode_id", "clip_id")))
    child_cut = cut_of_child(keys, **{name: parameters[name] for name in names})
    assert child_cut == cut
    assert child_cut.plan.fingerprint == cut.plan.fingerprint


def test_segments_with_other_inputs_are_another_part(tmp_path: Path) -> None:
    cut = planned_cut(tmp_path)
    other = replace(cut, plan=replace(cut.plan, span=Span(Fraction(0), Fraction(1))))
    parts = [
        extract_child(CutGroup(cuts), force=False).part
        for cuts in ((cut,), (cut, other), (cut, other), (other, cut), (cut, cut))
    ]
    assert parts[1] == parts[2]
    assert len(set(parts)) == 4


def test_no_child_has_more_parameters_than_prefect_stores(tmp_path: Path) -> None:
    cut = planned_cut(tmp_path)
    cuts = [replace(cut, request=cut.request.model_copy(update={"index": n})) for n in range(900)]
    parts = within_limit(CutGroup(tuple(cuts)))
    assert [each for part in parts for each in part.cuts] == cuts
    assert 2 <= len(parts) < 9
    for part in parts:
        assert len(json.dumps(extract_child(part, force=False).parameters)) < 524_288
    assert within_limit(CutGroup((cut,))) == [CutGroup((cut,))]


def test_an_edited_short_is_unchanged_after_serialization() -> None:
    keys = ShortsKeys("u", "v", "warehouse")
    brand = {"logo": {"file": "logo.png", "corner": "top_left"}, "intro": "i.mp4"}
    looks = {"brand": brand, "caption_style": "looks/style.json", "tighten": True}
    config = ShortsConfig.read({"segment_count": 3, "layout": "split", **looks}, "the config")
    texts = {"title": "<i>", "hook": "كل", "description": "Two\nlines", "why": ""}
    times = {"start": "00:00:01,250", "end": "00:00:09,000"}
    moment = Moment.read(
        {**texts, **times, "id": "m1-2", "index": 3, "score": 5, "decision": "approved"}, "it"
    )
    views = (View(start=1.5, end=2, person=2), View(start=3, end=4, place=Place(x=0.5, y=1.0)))
    request = Render(keys, config, 3, moment, views, {"w17": "um", "p20": "so"})
    parameters = json.loads(json.dumps(render_child(request, force=False).parameters))
    names = ("config", "number", "moment", "views", "restored")
    parsed = render_of_child(keys, **{name: parameters[name] for name in names})
    assert parsed == request
    assert parsed.config.brand == Brand.read(brand, "the brand")


def run_that_raised(error: BaseException) -> FlowRun:
    """Run a flow that raises the error, and return its flow run as stored by Prefect."""

    @flow(name="child", flow_run_name="child")
    def child() -> None:
        raise error

    state: State[None] = child(return_state=True)
    return read(state.state_details.flow_run_id)


def read(run_id: UUID | None) -> FlowRun:
    assert run_id
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run_id)


def test_a_child_that_is_deleted_in_the_ui_counts_as_lost() -> None:
    run = run_of("extract-segment", {}, Running())
    # Without a websocket, it reads every second.
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        group = ChildRunGroup("t/e/c")
    with closing(group), get_client(sync_client=True) as client:
        assert group.poll(client, run).state_name == "Running"
        client.delete_flow_run(run.id)
        run = group.poll(client, run)
    error = error_of(run, run.state)
    assert isinstance(error, MachineLostError)
    assert "deleted in Prefect" in error.message


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (
            InvalidInputError("It is:\nwrong.", "Correct it."),
            InvalidInputError("It is:\nwrong. Correct it."),
        ),
        (StorageUnavailableError("S3: error: no."), StorageUnavailableError("S3: error: no.")),
    ],
)
def test_a_childs_error_keeps_its_type_and_message_in_the_parent(
    raised: ClipflowError, expected: ClipflowError
) -> None:
    run = run_that_raised(raised)
    error = error_of(run, run.state)
    assert type(error) is type(expected)
    assert str(error) == str(expected)


def test_a_defect_in_a_child_is_not_retried() -> None:
    run = run_that_raised(KeyError("x"))
    error = error_of(run, run.state)
    assert type(error) is TerminalError
    assert "KeyError" in str(error)


@pytest.mark.parametrize(
    ("state", "error_type", "code"),
    [
        (Crashed(message="out of memory"), MachineLostError, FailureCode.CRASHED),
        (Cancelled(message="by a person"), StoppedError, FailureCode.CANCELLED),
    ],
)
def test_a_lost_or_cancelled_child_is_reported_as_such(
    state: State[None], error_type: type[ClipflowError], code: FailureCode
) -> None:
    run = run_that_raised(KeyError("x"))
    error = error_of(run, state)
    assert type(error) is error_type
    assert error.code is code
    assert state.message and state.message in str(error)


@pytest.fixture
def keys(records: RecordStore) -> ClipKeys:
    return ClipKeys("t", f"e-{uuid4().hex}", "c")


def claim_record(run: FlowRun, keys: ClipKeys, records: RecordStore) -> None:
    """Make the run the owner of the record."""
    assert records.claim(keys, str(run.id), {"segments": []}).granted


def parent_in_state(state: State[None]) -> FlowRun:
    """A flow run in this state, which is never executed."""

    @flow(name="parent")
    def parent() -> None:
        """Do nothing."""

    with get_client(sync_client=True) as client:
        run = client.create_flow_run(parent)
        client.set_flow_run_state(run.id, state, force=True)
        return client.read_flow_run(run.id)


@pytest.mark.parametrize(
    ("state", "needed"),
    [(Running(), True), (Crashed(), True), (Cancelled(), False)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_child_is_needed_while_its_owner_is_active_or_has_just_crashed(
    state: State[None], needed: bool, keys: ClipKeys, records: RecordStore
) -> None:
    claim_record(parent_in_state(state), keys, records)
    assert is_needed(keys) is needed


def test_a_child_is_not_needed_when_its_owner_ended_long_ago(
    keys: ClipKeys, records: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim_record(parent_in_state(Crashed()), keys, records)
    monkeypatch.setattr("tasks.recovery.ADOPTION_GRACE", 0 * ADOPTION_GRACE)
    assert not is_needed(keys)


@pytest.mark.parametrize("owned", [True, False], ids=["own", "another run's"])
def test_a_parent_that_fails_cancels_children_of_its_own_record_only(
    owned: bool, keys: ClipKeys, records: RecordStore
) -> None:
    parameters = {"n": keys.episode_id}
    child = run_of("extract-segment", parameters, Running(), (record_tag(keys),))
    if not owned:
        claim_record(parent_in_state(Running()), keys, records)

    @flow(name="parent")
    def parent() -> None:
        if owned:
            claim_record(this_run(), keys, records)
        with child_run_group(keys):
            raise MachineLostError("A segment's machine was lost.")

    assert parent(return_state=True).is_failed()
    assert read(child.id).state_name == ("Cancelling" if owned else "Running")


def test_a_child_without_an_owner_is_not_needed(keys: ClipKeys) -> None:
    assert not is_needed(keys)
