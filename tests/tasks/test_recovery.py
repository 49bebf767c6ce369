"""`mark-failed`: what happens to the record of a run, for each way in which the run can end."""

from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Completed, Crashed, Failed

from clipflow.domain.clips import ClipResult
from clipflow.domain.keys import ClipKeys, RecordKeys
from clipflow.storage.records import RecordStore, plain
from flows.mark_failed import mark_failed
from tasks.flow_runs import BEGIN_CLIP_GENERATION, GENERATE_CLIP
from tasks.recovery import RESTARTED_TAG, Reconciled
from tests.lost_runs import run_of, second_runs

RESULT = ClipResult(
    s3_key="k", file_size=1, duration="00:00:01", duration_seconds=1, resolution="2x2",
    segment_count=1,
)  # fmt: skip
INVALID_INPUT_MESSAGE = (
    "Flow run encountered an exception: InvalidInputError: startTime: wrong. Correct it."
)
OUTAGE_MESSAGE = (
    "Flow run encountered an exception: StorageUnavailableError: DynamoDB did not answer."
)
SEGMENTS = [{"startTime": 0, "endTime": 1}]


pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def keys() -> ClipKeys:
    return ClipKeys("t", f"e-{uuid4().hex}", "c")


def detect(records: RecordStore, keys: RecordKeys) -> None:
    records.table.put_item(Item={**keys.record, "status": "detected", "segments": []})


def record(records: RecordStore, keys: RecordKeys) -> dict[str, object]:
    return dict(plain(records.table.get_item(Key=keys.record).get("Item", {})))


def run_in_state(keys: ClipKeys, state: State[None], *tags: str) -> FlowRun:
    parameters = {
        "tenant_id": keys.tenant_id, "episode_id": keys.episode_id, "clip_id": keys.clip_id
    }  # fmt: skip
    return run_of(GENERATE_CLIP, parameters, state, tags)


def reconcile(run: FlowRun) -> str | None:
    return mark_failed(run.id, return_state=True).name


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (Crashed(message="exit code -9"), "CRASHED"),
        (Crashed(name="HeartbeatLost", message="silence"), "CRASHED"),
        (Cancelled(message="by a person"), "CANCELLED"),
        (Failed(name="TimedOut", message="Flow run exceeded timeout of 2.0 second(s)"), "TIMEOUT"),
        (Failed(message=INVALID_INPUT_MESSAGE), "VALIDATION_ERROR"),
        (Failed(message=OUTAGE_MESSAGE), "STORAGE_ERROR"),
        (Failed(message="Flow run encountered an exception: KeyError: 'x'"), "INTERNAL_ERROR"),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_the_record_of_its_owner_shows_how_the_run_ended(
    state: State[None], code: str, keys: ClipKeys, records: RecordStore
) -> None:
    detect(records, keys)
    run = run_in_state(keys, state)
    assert records.claim(keys, str(run.id)).granted
    assert reconcile(run) == Reconciled.MARKED
    item = record(records, keys)
    assert item["status"] == "Generation Failed"
    assert item["processingError"]["code"] == code  # type: ignore[index]
    # A second execution writes nothing.
    assert reconcile(run) == Reconciled.MARKED
    assert record(records, keys) == item


def test_the_result_of_a_newer_run_is_kept(keys: ClipKeys, records: RecordStore) -> None:
    detect(records, keys)
    lost_run, newer_run = run_in_state(keys, Crashed()), str(uuid4())
    assert records.claim(keys, str(lost_run.id)).granted
    assert records.claim(keys, newer_run, dead_owner=str(lost_run.id)).granted
    assert reconcile(lost_run) == Reconciled.NOTHING_TO_DO
    records.complete(keys, newer_run, RESULT)
    item = record(records, keys)
    assert reconcile(lost_run) == Reconciled.NOTHING_TO_DO
    assert record(records, keys) == item


def test_a_run_that_completed_needs_no_mark(keys: ClipKeys, records: RecordStore) -> None:
    detect(records, keys)
    assert reconcile(run_in_state(keys, Completed())) == Reconciled.NOTHING_TO_DO
    assert record(records, keys)["status"] == "detected"


def test_a_record_never_claimed_by_a_lost_run_is_restarted_once_and_then_marked(
    keys: ClipKeys, records: RecordStore
) -> None:
    detect(records, keys)
    first = run_in_state(keys, Crashed())
    assert [reconcile(first), reconcile(first)] == [Reconciled.STARTED_AGAIN] * 2
    [second] = second_runs("episode_id", keys.episode_id)
    assert second.parameters == first.parameters and second.state and second.state.is_scheduled()
    assert reconcile(run_in_state(keys, Crashed(), RESTARTED_TAG)) == Reconciled.MARKED
    item = record(records, keys)
    assert item["processingError"]["code"] == "CRASHED"  # type: ignore[index]
    assert [entry["status"] for entry in item["statusHistory"]] == ["Generation Failed"]  # type: ignore[attr-defined]


def test_a_failed_record_that_was_requested_again_is_started_again_too(
    keys: ClipKeys, records: RecordStore
) -> None:
    records.table.put_item(
        Item={**keys.record, "status": "Generation Failed", "flowRunId": str(uuid4())}
    )
    assert reconcile(run_in_state(keys, Crashed())) == Reconciled.STARTED_AGAIN
    assert len(second_runs("episode_id", keys.episode_id)) == 1


def test_the_run_of_an_event_is_restarted_whatever_the_status_of_the_records(
    records: RecordStore,
) -> None:
    parameters = {"tenant_id": "t", "episode_id": f"e-{uuid4().hex}", "event_id": str(uuid4())}
    assert (
        reconcile(run_of(BEGIN_CLIP_GENERATION, parameters, Crashed())) == Reconciled.STARTED_AGAIN
    )
    assert (
        reconcile(run_of(BEGIN_CLIP_GENERATION, parameters, Crashed(), (RESTARTED_TAG,)))
        == Reconciled.NOTHING_TO_DO
    )


@pytest.mark.parametrize(
    "state", [Cancelled(), Failed(message=INVALID_INPUT_MESSAGE)], ids=["cancelled", "bad"]
)
def test_terminal_failures_are_marked_without_a_restart(
    state: State[None], keys: ClipKeys, records: RecordStore
) -> None:
    detect(records, keys)
    assert reconcile(run_in_state(keys, state)) == Reconciled.MARKED
    assert record(records, keys)["status"] == "Generation Failed"
    assert not second_runs("episode_id", keys.episode_id)


def test_no_record_is_created(keys: ClipKeys, records: RecordStore) -> None:
    assert reconcile(run_in_state(keys, Cancelled())) == Reconciled.NOTHING_TO_DO
    assert not record(records, keys)


@pytest.mark.parametrize("clips", [None, [{"clipId": "c", "segments": SEGMENTS}]])
def test_an_event_whose_run_is_lost_twice_fails_its_clips_records(
    clips: list[dict[str, object]] | None, keys: ClipKeys, records: RecordStore
) -> None:
    detect(records, keys)
    parameters = {"tenant_id": keys.tenant_id, "episode_id": keys.episode_id, "clips": clips}
    assert (
        reconcile(run_of(BEGIN_CLIP_GENERATION, parameters, Crashed())) == Reconciled.STARTED_AGAIN
    )
    assert (
        reconcile(run_of(BEGIN_CLIP_GENERATION, parameters, Crashed(), (RESTARTED_TAG,)))
        == Reconciled.MARKED
    )
    assert record(records, keys)["status"] == "Generation Failed"


def test_a_run_with_invalid_parameters_has_no_record(records: RecordStore) -> None:
    for flow, parameters in (
        (GENERATE_CLIP, {"tenant_id": "t"}),
        (BEGIN_CLIP_GENERATION, {"tenant_id": "../t"}),
    ):
        assert reconcile(run_of(flow, parameters, Failed(message="no"))) == Reconciled.NOTHING_TO_DO
