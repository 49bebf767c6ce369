"""What was lost on the way, and is found."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Crashed, Running

from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.domain.transitions import timestamp
from clipflow.storage.records import RecordStore, plain
from deployments.bridge import sweep
from deployments.bridge.prefect_server import PAGE
from deployments.bridge.sweep import Sweep, Swept
from tasks.flow_runs import BEGIN_CLIP_GENERATION, GENERATE_CLIP, GENERATE_SHORTS
from tasks.recovery import RESTARTED_TAG
from tests.lost_runs import deployed, run_of, second_runs
from tests.programs import PrefectServer, eventually

LONG_AGO = timestamp(datetime.now(UTC) - timedelta(hours=1))


@pytest.fixture(autouse=True)
def server(prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # What ends in a test has ended just now.
    monkeypatch.setattr(sweep, "SETTLED", timedelta(0))
    monkeypatch.setattr(sweep, "FIRED", timedelta(0))
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        with get_client(sync_client=True) as client:
            for flow in (BEGIN_CLIP_GENERATION, GENERATE_CLIP, GENERATE_SHORTS):
                deployed(client, flow)
        yield


@pytest.fixture
def keys() -> ClipKeys:
    return ClipKeys("t", f"e-{uuid4().hex}", "c")


def turn(records: RecordStore) -> Swept:
    async def once() -> Swept:
        async with get_client() as client:
            return await Sweep(client, records, patience=30).turn()

    return asyncio.run(once())


def leave_in_progress(
    records: RecordStore, keys: RecordKeys, owner: str, since: str = LONG_AGO
) -> None:
    records.table.put_item(
        Item={
            **keys.record,
            "status": "Generation in Progress",
            "updatedAt": since,
            "flowRunId": owner,
        }
    )


def record(records: RecordStore, keys: RecordKeys) -> dict[str, object]:
    return dict(plain(records.table.get_item(Key=keys.record)["Item"]))


def ended(keys: ClipKeys, state: State[None], *tags: str) -> str:
    asked = {
        "tenant_id": keys.tenant_id,
        "episode_id": keys.episode_id,
        "clip_id": keys.clip_id,
        "force": True,
    }
    return str(run_of(GENERATE_CLIP, asked, state, tags).id)


def test_what_nobody_works_on_is_started_again_once(keys: ClipKeys, records: RecordStore) -> None:
    leave_in_progress(records, keys, owner=ended(keys, Crashed()))
    assert turn(records).started_again >= 1
    turn(records)
    [second] = second_runs("episode_id", keys.episode_id)
    assert second.parameters["force"] is True
    # There may be no worker for it: until it claims the record, that says what happened.
    assert record(records, keys)["processingError"]["code"] == "CRASHED"  # type: ignore[index]


def test_what_somebody_has_cancelled_is_marked_and_not_started_again(
    keys: ClipKeys, records: RecordStore
) -> None:
    leave_in_progress(records, keys, owner=ended(keys, Cancelled()))
    assert turn(records).marked >= 1
    assert record(records, keys)["processingError"]["code"] == "CANCELLED"  # type: ignore[index]
    assert not second_runs("episode_id", keys.episode_id)


def test_a_run_that_prefect_does_not_know_works_on_nothing(records: RecordStore) -> None:
    video = ShortsKeys("u", uuid4().hex, "any")
    leave_in_progress(records, video, owner=str(uuid4()))
    turn(records)
    [second] = second_runs("video_id", video.video_id)
    assert second.parameters == {"user_id": "u", "video_id": video.video_id}


def test_what_is_left_a_second_time_is_marked(keys: ClipKeys, records: RecordStore) -> None:
    leave_in_progress(records, keys, owner=ended(keys, Crashed(message="gone"), RESTARTED_TAG))
    assert turn(records).marked >= 1
    told = record(records, keys)
    assert told["status"] == "Generation Failed"
    assert told["processingError"]["code"] == "CRASHED"  # type: ignore[index]


def test_a_second_run_that_never_came_to_the_record_is_marked(
    keys: ClipKeys, records: RecordStore
) -> None:
    leave_in_progress(records, keys, owner=str(uuid4()))
    turn(records)
    [second] = second_runs("episode_id", keys.episode_id)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(second.id, Crashed(), force=True)
    turn(records)
    assert record(records, keys)["status"] == "Generation Failed"


def test_what_is_worked_on_is_left_alone(keys: ClipKeys, records: RecordStore) -> None:
    leave_in_progress(records, keys, owner=ended(keys, Running()))
    swept = turn(records)
    assert swept.in_progress >= 1 and swept.oldest_seconds >= 3600
    assert not second_runs("episode_id", keys.episode_id)


def test_what_ended_just_now_is_left_to_those_who_come_first(
    keys: ClipKeys, records: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SETTLED", timedelta(minutes=1))
    leave_in_progress(records, keys, owner=ended(keys, Crashed()))
    turn(records)
    assert not second_runs("episode_id", keys.episode_id)


def test_a_run_whose_end_nobody_came_to_settle_is_started_again(
    keys: ClipKeys, records: RecordStore
) -> None:
    records.table.put_item(Item={**keys.record, "status": "detected"})
    ended(keys, Crashed())
    turn(records)
    turn(records)
    assert len(second_runs("episode_id", keys.episode_id)) == 1


def begun(event: UUID) -> list[FlowRun]:
    wanted = FlowFilter(name=FlowFilterName(any_=[BEGIN_CLIP_GENERATION]))
    with get_client(sync_client=True) as client:
        runs: list[FlowRun] = client.read_flow_runs(flow_filter=wanted)
    return [run for run in runs if run.parameters.get("event_id") == str(event)]


def test_an_event_without_a_run_gets_one(
    prefect_server: PrefectServer, records: RecordStore
) -> None:
    events = [uuid4() for _ in range(PAGE + 3)]
    prefect_server.ask("/events", [posting(event) for event in events])

    def stored() -> bool:
        found = prefect_server.ask("/events/filter", {"filter": {"id": {"id": [str(events[-1])]}}})
        return bool(found.json()["events"])

    eventually(stored)
    assert turn(records).begun >= len(events)
    assert turn(records).begun == 0
    for event in (events[0], events[-1]):
        [run] = begun(event)
        assert run.parameters["tenant_id"] == "t"


def test_what_somebody_else_has_told_under_our_events_name_holds_up_nothing(
    prefect_server: PrefectServer,
    keys: ClipKeys,
    records: RecordStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    event = uuid4()
    prefect_server.ask("/events", [posting(event) | {"payload": {"hello": "world"}}])
    leave_in_progress(records, keys, owner=ended(keys, Crashed()), since="2025-01-15T10:30:00")

    async def turns() -> None:
        async with get_client() as client:
            swept = Sweep(client, records, patience=30)
            while "is none of the bridge's" not in caplog.text:
                await swept.turn()
            await swept.turn()

    asyncio.run(asyncio.wait_for(turns(), 20))
    assert caplog.text.count("is none of the bridge's") == 1
    assert not begun(event)
    assert second_runs("episode_id", keys.episode_id)


def posting(event: UUID) -> dict[str, object]:
    return {
        "id": str(event),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "nullcheck.clips.begin-clip-generation",
        "resource": {"prefect.resource.id": "nullcheck.clips.t.e"},
        "payload": {"tenantId": "t", "episodeId": "e"},
    }
