"""The sweep finds abandoned records, runs and events, and restarts or marks them."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import boto3
import pytest
from prefect import get_client
from prefect.client.schemas.actions import VariableUpdate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import Event
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Crashed, Running, Scheduled

from clipflow.domain.errors import Failure, FailureCode, StorageUnavailableError
from clipflow.domain.events import to_prefect_event
from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.domain.transitions import timestamp
from clipflow.storage.outbox import outbox
from clipflow.storage.records import RecordStore, plain
from deployments.bridge import result_events, sweep
from deployments.bridge.message import RequestRejectedError
from deployments.bridge.prefect_server import PAGE
from deployments.bridge.sweep import TRIGGER_GRACE, Sweep, SweepResult, missed
from tasks.flow_runs import BEGIN_CLIP_GENERATION, GENERATE_CLIP, GENERATE_SHORTS
from tasks.recovery import RESTARTED_TAG
from tests.deployments.event_queue import prefect_proxy, stored_events
from tests.lost_runs import deployed, run_of, second_runs
from tests.programs import PrefectServer, eventually, free_port
from tests.subscriber import Subscriber

LONG_AGO = timestamp(datetime.now(UTC) - timedelta(hours=1))


@pytest.fixture(autouse=True)
def server(
    prefect_server: PrefectServer, records: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    # The runs of these tests end only a moment before the sweep, which must handle them anyway.
    monkeypatch.setattr(sweep, "ENDED_RUN_GRACE", timedelta(0))
    monkeypatch.setattr(sweep, "TRIGGER_GRACE", timedelta(0))
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        with get_client(sync_client=True) as client:
            for flow in (BEGIN_CLIP_GENERATION, GENERATE_CLIP, GENERATE_SHORTS):
                deployed(client, flow)
        # A first sweep reconciles what earlier tests left on this server and in this table.
        run_sweep(records)
        yield


@pytest.fixture
def keys() -> ClipKeys:
    return ClipKeys("t", f"e-{uuid4().hex}", "c")


class DeadLetters(dict[str, str]):
    """A fake of the dead-letter queue: the reason of each message, by its body."""

    async def add(self, body: str, reason: str) -> None:
        self[body] = reason

    def of(self, episode: str) -> list[tuple[str, str]]:
        """Body and reason of each message that requests clips of `episode`."""
        return [(body, reason) for body, reason in self.items() if episode in body]


def run_sweep(records: RecordStore, dead_letters: DeadLetters | None = None) -> SweepResult:
    dead_letters = DeadLetters() if dead_letters is None else dead_letters

    async def sweep_once() -> SweepResult:
        async with get_client() as client:
            return await Sweep(client, records, outbox(), 30, dead_letters.add).turn()

    return asyncio.run(sweep_once())


def leave_in_progress(
    records: RecordStore, keys: RecordKeys, owner: str, updated_at: str = LONG_AGO
) -> None:
    records.table.put_item(
        Item={
            **keys.record,
            "status": "Generation in Progress",
            "updatedAt": updated_at,
            "flowRunId": owner,
        }
    )


def record(records: RecordStore, keys: RecordKeys) -> dict[str, object]:
    return dict(plain(records.table.get_item(Key=keys.record)["Item"]))


def run_in_state(keys: ClipKeys, state: State[None], *tags: str) -> str:
    parameters = {
        "tenant_id": keys.tenant_id,
        "episode_id": keys.episode_id,
        "clip_id": keys.clip_id,
        "force": True,
    }
    return str(run_of(GENERATE_CLIP, parameters, state, tags).id)


def test_abandoned_work_is_restarted_once(keys: ClipKeys, records: RecordStore) -> None:
    leave_in_progress(records, keys, owner=run_in_state(keys, Crashed()))
    assert run_sweep(records).started_again == 1
    run_sweep(records)
    [second] = second_runs("episode_id", keys.episode_id)
    assert second.parameters["force"] is True
    # There may be no worker for the new run: until it claims the record, the error is kept.
    assert record(records, keys)["processingError"]["code"] == "CRASHED"  # type: ignore[index]


def test_a_cancelled_run_is_marked_and_not_restarted(keys: ClipKeys, records: RecordStore) -> None:
    leave_in_progress(records, keys, owner=run_in_state(keys, Cancelled()))
    assert run_sweep(records).marked == 1
    assert record(records, keys)["processingError"]["code"] == "CANCELLED"  # type: ignore[index]
    assert not second_runs("episode_id", keys.episode_id)


def test_a_record_owned_by_an_unknown_run_is_restarted(records: RecordStore) -> None:
    video = ShortsKeys("u", uuid4().hex, "any")
    leave_in_progress(records, video, owner=str(uuid4()))
    run_sweep(records)
    [second] = second_runs("video_id", video.video_id)
    assert second.parameters == {"user_id": "u", "video_id": video.video_id}


def test_a_restarted_run_that_crashes_is_marked(keys: ClipKeys, records: RecordStore) -> None:
    leave_in_progress(
        records, keys, owner=run_in_state(keys, Crashed(message="gone"), RESTARTED_TAG)
    )
    assert run_sweep(records).marked == 1
    item = record(records, keys)
    assert item["status"] == "Generation Failed"
    assert item["processingError"]["code"] == "CRASHED"  # type: ignore[index]


def test_a_second_run_that_never_claimed_the_record_is_marked(
    keys: ClipKeys, records: RecordStore
) -> None:
    leave_in_progress(records, keys, owner=str(uuid4()))
    run_sweep(records)
    [second] = second_runs("episode_id", keys.episode_id)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(second.id, Crashed(), force=True)
    run_sweep(records)
    assert record(records, keys)["status"] == "Generation Failed"


def test_an_active_run_is_not_changed(keys: ClipKeys, records: RecordStore) -> None:
    before = run_sweep(records).in_progress
    # Older than the records of all other tests.
    updated_at = datetime.now(UTC) - timedelta(days=30)
    leave_in_progress(records, keys, run_in_state(keys, Running()), timestamp(updated_at))
    result = run_sweep(records)
    assert result.in_progress == before + 1
    assert result.oldest_seconds == pytest.approx(timedelta(days=30).total_seconds(), abs=120)
    assert not second_runs("episode_id", keys.episode_id)


def test_a_run_that_ended_recently_is_left_to_hooks_and_automations(
    keys: ClipKeys, records: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "ENDED_RUN_GRACE", timedelta(minutes=1))
    leave_in_progress(records, keys, owner=run_in_state(keys, Crashed()))
    run_sweep(records)
    assert not second_runs("episode_id", keys.episode_id)


def test_a_crashed_run_that_was_not_handled_is_restarted(
    keys: ClipKeys, records: RecordStore
) -> None:
    records.table.put_item(Item={**keys.record, "status": "detected"})
    run_in_state(keys, Crashed())
    run_sweep(records)
    run_sweep(records)
    assert len(second_runs("episode_id", keys.episode_id)) == 1


@pytest.mark.parametrize(
    ("last_swept_ago", "started_again"), [(timedelta(hours=4), 1), (-TRIGGER_GRACE, 0)]
)
def test_a_new_bridge_sweeps_from_the_last_swept_time(
    last_swept_ago: timedelta,
    started_again: int,
    keys: ClipKeys,
    records: RecordStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # With an overlap, a new bridge would find the run whatever time is stored in the variable.
    monkeypatch.setattr(sweep, "OVERLAP", timedelta(0))
    records.table.put_item(Item={**keys.record, "status": "detected"})
    run_in_state(keys, Crashed())
    with get_client(sync_client=True) as client:
        [variable] = [v for v in client.read_variables() if v.name == "clipflow_swept_until"]
        until = (datetime.now(UTC) - last_swept_ago).isoformat()
        client.update_variable(VariableUpdate(name=variable.name, value=until))
    run_sweep(records)
    assert len(second_runs("episode_id", keys.episode_id)) == started_again


def test_an_event_with_inline_clips_is_dead_lettered_when_its_second_run_crashes(
    records: RecordStore,
) -> None:
    episode, event = f"e-{uuid4().hex}", uuid4()
    clips = [{"clipId": "c", "segments": [{"startTime": "00:00:01", "endTime": "00:00:02"}]}]
    detail = {"tenantId": "t", "episodeId": episode, "clips": clips}
    parameters = {
        "tenant_id": "t",
        "episode_id": episode,
        "request": json.dumps(detail),
        "event_id": str(event),
    }
    dead_letters = DeadLetters()
    run_of(BEGIN_CLIP_GENERATION, parameters, Crashed(message="gone"))
    run_sweep(records, dead_letters)
    assert not dead_letters.of(episode)
    [second] = second_runs("episode_id", episode)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(second.id, Crashed(message="gone again"), force=True)
    run_sweep(records, dead_letters)
    [(body, reason)] = dead_letters.of(episode)
    assert "No record of c: " in reason and "gone again" in reason
    redriven = to_prefect_event(body)
    assert json.loads(redriven.payload["detail"]) == detail
    # Prefect would treat the same id as the same event and start nothing.
    assert redriven.id != event


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_event_whose_run_prefect_rejects_is_dead_lettered_without_blocking_others(
    prefect_server: PrefectServer, records: RecordStore, status: int
) -> None:
    before, refused, after = stored_in_order(prefect_server, 3)

    def reject_one(path: str, body: str) -> int | None:
        return status if "create_flow_run" in path and str(refused) in body else None

    dead_letters = DeadLetters()
    with (
        prefect_proxy(prefect_server, reject_one) as url,
        temporary_settings({PREFECT_API_URL: url}),
    ):
        assert run_sweep(records, dead_letters).begun == 2
    assert len(runs_of(before)) == len(runs_of(after)) == 1
    [(body, reason)] = dead_letters.of(f"e-{refused}")
    assert str(status) in reason
    assert to_prefect_event(body).tenant_id == "t"


def test_an_event_that_cannot_be_dead_lettered_does_not_block_others_and_is_tried_again(
    prefect_server: PrefectServer, records: RecordStore
) -> None:
    before, refused, after = stored_in_order(prefect_server, 3)

    def reject_one(path: str, body: str) -> int | None:
        return 413 if "create_flow_run" in path and str(refused) in body else None

    async def too_large(body: str, reason: str) -> None:
        raise RequestRejectedError("SQS: InvalidParameterValue.")

    async def sweep_twice() -> None:
        async with get_client() as client:
            repeated = Sweep(client, records, outbox(), 30, too_large)
            with pytest.raises(RequestRejectedError, match="SQS"):
                await repeated.turn()
            repeated._dead_letter = dead_letters.add
            await repeated.turn()

    dead_letters = DeadLetters()
    with (
        prefect_proxy(prefect_server, reject_one) as url,
        temporary_settings({PREFECT_API_URL: url}),
    ):
        asyncio.run(sweep_twice())
    assert len(runs_of(before)) == len(runs_of(after)) == 1
    assert len(dead_letters.of(f"e-{refused}")) == 1


def test_a_record_whose_new_run_prefect_rejects_is_marked_without_blocking_others(
    prefect_server: PrefectServer, records: RecordStore
) -> None:
    first, second = (ClipKeys("t", f"e-{uuid4().hex}", "c") for _ in range(2))
    for keys, hours in ((first, 2), (second, 1)):
        since = timestamp(datetime.now(UTC) - timedelta(hours=hours))
        leave_in_progress(records, keys, run_in_state(keys, Crashed()), updated_at=since)

    def reject_one(path: str, body: str) -> int | None:
        return 422 if "create_flow_run" in path and first.episode_id in body else None

    with (
        prefect_proxy(prefect_server, reject_one) as url,
        temporary_settings({PREFECT_API_URL: url}),
    ):
        swept = run_sweep(records)
    assert (swept.started_again, swept.marked) == (1, 2)
    assert record(records, first)["status"] == "Generation Failed"
    assert second_runs("episode_id", second.episode_id)


def stored_in_order(server: PrefectServer, count: int) -> list[UUID]:
    """The ids of new events that the Prefect server has stored one after the other."""
    events = [uuid4() for _ in range(count)]
    for event in events:
        server.post("/events", [event_body(event)])
        eventually(lambda event=event: is_stored(server, event))  # type: ignore[misc]
    return events


def is_stored(server: PrefectServer, event: UUID) -> bool:
    """Whether the Prefect server has stored the event."""
    return bool(stored_events(server, str(event)))


def runs_of(event: UUID) -> list[FlowRun]:
    """The runs of `begin-clip-generation` that were started for this event."""
    wanted = FlowFilter(name=FlowFilterName(any_=[BEGIN_CLIP_GENERATION]))
    with get_client(sync_client=True) as client:
        runs: list[FlowRun] = client.read_flow_runs(flow_filter=wanted)
    return [run for run in runs if run.parameters.get("event_id") == str(event)]


def test_an_event_without_a_run_gets_one(
    prefect_server: PrefectServer, records: RecordStore
) -> None:
    events = [uuid4() for _ in range(PAGE + 3)]
    prefect_server.post("/events", [event_body(event) for event in events])
    eventually(lambda: is_stored(prefect_server, events[-1]))
    assert run_sweep(records).begun == len(events)
    assert run_sweep(records).begun == 0
    for event in (events[0], events[-1]):
        [run] = runs_of(event)
        assert run.parameters["tenant_id"] == "t"


def test_events_that_wait_behind_others_are_not_missed() -> None:
    began = datetime(2025, 1, 15, tzinfo=UTC)
    events = [
        Event(
            event="clipflow.requested",
            occurred=began + timedelta(seconds=second),
            resource={"prefect.resource.id": "clipflow"},
        )
        for second in range(4)
    ]
    begun = [str(events[0].id), str(events[2].id)]
    assert missed(events, begun, starting=True) == [events[1]]
    assert missed(events, begun, starting=False) == [events[1], events[3]]
    assert missed(events, [], starting=True) == []


def test_an_event_that_waits_long_behind_others_and_is_lost_then_gets_a_run(
    prefect_server: PrefectServer, records: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, lost = uuid4(), uuid4()
    # So long ago that the events of other tests are not looked at in the first turn.
    bodies = [event_body(begun, seconds_ago=1200), event_body(lost, seconds_ago=900)]
    prefect_server.post("/events", bodies)
    eventually(lambda: is_stored(prefect_server, lost))
    # While this run is new, Prefect may still be starting the runs of later events.
    parameters = {"tenant_id": "t", "episode_id": f"e-{begun}", "event_id": str(begun)}
    run_of(BEGIN_CLIP_GENERATION, parameters, Scheduled())
    monkeypatch.setattr(sweep, "TRIGGER_GRACE", timedelta(minutes=10))
    monkeypatch.setattr(sweep, "OVERLAP", timedelta(hours=1))

    async def sweep_twice() -> tuple[int, int]:
        async with get_client() as client:
            repeated = Sweep(client, records, outbox(), 30, DeadLetters().add)
            waiting = (await repeated.turn()).begun
            monkeypatch.setattr(sweep, "TRIGGER_GRACE", timedelta(0))
            # As if the server had been busy for longer than turns overlap.
            monkeypatch.setattr(sweep, "OVERLAP", timedelta(0))
            return waiting, (await repeated.turn()).begun

    assert asyncio.run(sweep_twice()) == (0, 1)
    assert len(runs_of(lost)) == 1


def test_a_foreign_event_with_our_event_name_does_not_block_the_sweep(
    prefect_server: PrefectServer,
    keys: ClipKeys,
    records: RecordStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    event = uuid4()
    prefect_server.post("/events", [event_body(event) | {"payload": {"hello": "world"}}])
    leave_in_progress(
        records, keys, owner=run_in_state(keys, Crashed()), updated_at="2025-01-15T10:30:00"
    )

    async def sweep_until_skipped() -> None:
        async with get_client() as client:
            repeated = Sweep(client, records, outbox(), 30, DeadLetters().add)
            while "was not posted by the bridge" not in caplog.text:
                await repeated.turn()
            await repeated.turn()

    asyncio.run(asyncio.wait_for(sweep_until_skipped(), 20))
    assert caplog.text.count("was not posted by the bridge") == 1
    assert not runs_of(event)
    assert second_runs("episode_id", keys.episode_id)


def event_body(event: UUID, seconds_ago: float = 0) -> dict[str, object]:
    """A request for clips in the form in which the bridge posts it to the Prefect server."""
    return {
        "id": str(event),
        "occurred": (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat(),
        "event": "nullcheck.clips.begin-clip-generation",
        "resource": {"prefect.resource.id": "nullcheck.clips.t.e"},
        "payload": {"tenantId": "t", "episodeId": f"e-{event}"},
    }


def test_events_of_a_run_that_was_killed_before_it_sent_them_are_sent(
    keys: ClipKeys, records: RecordStore, local_aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriber = Subscriber(local_aws)
    no_grace = timedelta(seconds=-2)
    with monkeypatch.context() as patch:
        # Send the events that other tests have left.
        patch.setattr(result_events, "GRACE", no_grace)
        run_sweep(records)
    records.claim(keys, "run-1", {})
    records.fail(keys, "run-1", Failure(FailureCode.FFMPEG_ERROR, "It broke."))
    run_sweep(records)
    # Within the grace period, the run itself may be about to send its event.
    assert subscriber.of(keys.episode_id) == []
    monkeypatch.setattr(result_events, "GRACE", no_grace)
    assert run_sweep(records).events_sent == 1
    [event] = subscriber.wait_for(keys.episode_id, 1)
    assert event["detail-type"] == "Clip Generation Failed"
    assert run_sweep(records).events_sent == 0


def test_events_that_cannot_be_sent_do_not_stop_other_parts_of_the_sweep(
    keys: ClipKeys, records: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_events, "GRACE", timedelta(seconds=-2))
    run_sweep(records)  # sends the events that other tests have left
    records.claim(keys, "run-1", {})
    records.fail(keys, "run-1", Failure(FailureCode.FFMPEG_ERROR, "It broke."))
    lost_keys = ClipKeys("t", f"e-{uuid4().hex}", "c")
    leave_in_progress(records, lost_keys, owner=run_in_state(lost_keys, Crashed()))
    unreachable = boto3.client("events", endpoint_url=f"http://127.0.0.1:{free_port()}")

    async def sweep_once() -> None:
        async with get_client() as client:
            await Sweep(
                client, records, replace(outbox(), client=unreachable), 30, DeadLetters().add
            ).turn()

    with pytest.raises(StorageUnavailableError, match="unsent"):
        asyncio.run(sweep_once())
    assert second_runs("episode_id", lost_keys.episode_id)
    # One of them is the event of the lost run.
    assert run_sweep(records).events_sent == 2
