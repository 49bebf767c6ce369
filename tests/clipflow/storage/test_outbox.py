"""Result events, from the record to a queue behind a rule on the local EventBridge."""

import json
from fractions import Fraction
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator

from clipflow.domain.errors import StorageUnavailableError
from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.domain.result_events import DetailType
from clipflow.domain.shorts import FailedState, Moment, Short, ShortsResult
from clipflow.storage.outbox import Outbox, outbox
from clipflow.storage.records import RecordStore, plain
from docs.make_schemas import ROOT, event_schema
from tests.clipflow.storage.outcomes import FAILURE, RESULT
from tests.subscriber import Subscriber

LATER = "9999-01-01T00:00:00Z"


@pytest.fixture
def subscriber(storage: None) -> Subscriber:
    return Subscriber()


@pytest.fixture
def clip() -> ClipKeys:
    return ClipKeys("t", f"e-{uuid4().hex}", "c")


@pytest.fixture
def video() -> ShortsKeys:
    return ShortsKeys("u", f"v-{uuid4().hex}", "warehouse")


def shorts(keys: ShortsKeys, etags: dict[int, str]) -> ShortsResult:
    moment = Moment(start=Fraction(1), end=Fraction(3), score=9, why="It is short.", title="Short")
    made = [
        Short.made(number, keys.short(number), moment, 100, etag=etag)
        for number, etag in etags.items()
    ]
    return ShortsResult(segment_count=len(made), shorts=made)


def detail_types(events: list[dict[str, Any]]) -> list[str]:
    for event in events:
        stored = json.loads((ROOT / event_schema(DetailType(event["detail-type"]))).read_text())
        Draft202012Validator(stored).validate(event["detail"])
        assert event["source"] == "clipflow"
    return [event["detail-type"] for event in events]


def unsent(box: Outbox, keys: RecordKeys) -> bool:
    return keys.record in [other.record for other in box.unsent(LATER)]


def attributes(records: RecordStore, keys: RecordKeys) -> dict[str, Any]:
    return dict(plain(records.table.get_item(Key=keys.record, ConsistentRead=True)["Item"]))


def test_a_finished_clip_is_announced_with_the_attributes_of_its_record(
    records: RecordStore, subscriber: Subscriber, clip: ClipKeys
) -> None:
    records.claim(clip, "run-1", {})
    records.complete(clip, "run-1", RESULT)
    assert unsent(outbox(), clip)
    assert outbox().send(clip) == 1
    [event] = subscriber.wait_for(clip.episode_id, 1)
    assert detail_types([event]) == ["Clip Generation Complete"]
    detail, record = event["detail"], attributes(records, clip)
    assert (detail["tenantId"], detail["clipId"], detail["flowRunId"]) == ("t", "c", "run-1")
    assert detail["time"] == record["updatedAt"]
    for name in ("s3Key", "fileSize", "duration", "durationSeconds", "resolution", "segmentCount"):
        assert detail[name] == record[name]
    assert "outbox" not in record
    assert not unsent(outbox(), clip)
    assert outbox().send(clip) == 0


def test_the_failure_of_a_record_that_no_run_has_claimed_is_announced_too(
    records: RecordStore, subscriber: Subscriber, clip: ClipKeys
) -> None:
    records.table.put_item(Item={**clip.record, "status": "detected"})
    records.fail_unclaimed(clip, "run-1", FAILURE)
    records.claim(clip, "run-2")
    records.fail(clip, "run-2", FAILURE)
    # The first run's event was not sent before the second run ended.
    assert outbox().send(clip) == 2
    events = subscriber.wait_for(clip.episode_id, 2)
    assert detail_types(events) == ["Clip Generation Failed"] * 2
    assert {event["detail"]["flowRunId"] for event in events} == {"run-1", "run-2"}
    assert events[0]["detail"]["error"] == {"code": "FFMPEG_ERROR", "message": "It broke."}


def test_only_shorts_that_are_new_are_announced_one_by_one(
    records: RecordStore, subscriber: Subscriber, video: ShortsKeys
) -> None:
    records.claim(video, "run-1", {})
    records.complete(video, "run-1", shorts(video, {1: "a", 2: "b"}))
    outbox().send(video)
    records.claim(video, "run-2")
    failed = shorts(video, {1: "a", 2: "c"})
    failed = failed.model_copy(update={"failed_state": FailedState.CHILD_TASKS})
    records.fail(video, "run-2", FAILURE, failed)
    outbox().send(video)
    events = subscriber.wait_for(video.video_id, 5)
    rendered = [e["detail"] for e in events if detail_types([e]) == ["Short Rendered"]]
    assert sorted((each["index"], each["etag"]) for each in rendered) == [
        (1, "a"),
        (2, "b"),
        (2, "c"),
    ]
    assert rendered[0]["start"] == "00:00:01,000"
    [whole] = [e["detail"] for e in events if e["detail-type"] == "Shorts Failed"]
    assert whole["failedState"] == "ChildTasksFailed"
    assert [short["etag"] for short in whole["shorts"]] == ["a", "c"]


def test_two_hundred_shorts_are_announced(
    records: RecordStore, subscriber: Subscriber, video: ShortsKeys
) -> None:
    records.claim(video, "run-1", {})
    records.complete(video, "run-1", shorts(video, {n: f"{n:032}" for n in range(1, 201)}))
    assert outbox().send(video) == 201
    assert len(subscriber.wait_for(video.video_id, 201)) == 201


def test_events_that_eventbridge_rejects_are_kept_and_sent_later(
    records: RecordStore, subscriber: Subscriber, clip: ClipKeys
) -> None:
    records.claim(clip, "run-1", {})
    records.complete(clip, "run-1", RESULT)

    class Refusing:
        """An EventBridge that throttles every event."""

        def put_events(self, **_: Any) -> dict[str, Any]:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}

    box = outbox()
    refusing: Any = Refusing()
    with pytest.raises(StorageUnavailableError, match="ThrottlingException"):
        Outbox(box.table, refusing, box.bus).send(clip)
    assert unsent(box, clip)
    # A later run of the same clip adds its own event.
    records.claim(clip, "run-2")
    records.complete(clip, "run-2", RESULT)
    assert box.send(clip) == 2
    events = subscriber.wait_for(clip.episode_id, 2)
    assert len({event["detail"]["eventId"] for event in events}) == 2


def test_events_that_are_added_while_others_are_sent_are_kept(
    records: RecordStore, subscriber: Subscriber, clip: ClipKeys
) -> None:
    records.claim(clip, "run-1", {})
    records.complete(clip, "run-1", RESULT)
    box = outbox()

    class Interrupting:
        """An EventBridge that is so slow that another run ends before it replies."""

        def put_events(self, **arguments: Any) -> Any:
            records.claim(clip, "run-2")
            records.fail(clip, "run-2", FAILURE)
            return box.client.put_events(**arguments)

    interrupting: Any = Interrupting()
    Outbox(box.table, interrupting, box.bus).send(clip)
    assert unsent(box, clip)
    box.send(clip)
    assert not unsent(box, clip)
    events = subscriber.wait_for(clip.episode_id, 3)
    assert {event["detail"]["flowRunId"] for event in events} == {"run-1", "run-2"}
