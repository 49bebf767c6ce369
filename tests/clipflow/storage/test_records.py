"""Claims, completion and failure of records in the local DynamoDB."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import pytest

from clipflow.domain.clips import ClipRequest
from clipflow.domain.errors import Failure, FailureCode, InvalidInputError, OwnershipLostError
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.layouts import Layout
from clipflow.domain.shorts import Framing, LayoutSpan, Moment, Short, ShortsResult
from clipflow.storage.outbox import outbox
from clipflow.storage.records import RecordStore, plain
from tests.clipflow.storage.outcomes import FAILURE, RESULT

NOW = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

Write = Callable[..., dict[str, Any]]


@pytest.fixture
def keys(request: pytest.FixtureRequest) -> ClipKeys:
    return ClipKeys("t", re.sub(r"\W", "-", request.node.name), "c")


@pytest.fixture
def detected(records: RecordStore, keys: ClipKeys) -> Write:
    def write(**attributes: Any) -> dict[str, Any]:
        history = [{"status": "detected", "timestamp": "2025-01-15T10:30:00Z"}]
        item = {"status": "detected", "statusHistory": history, **attributes}
        records.table.put_item(Item={**keys.record, **item})
        return item

    return write


def read(records: RecordStore, keys: ClipKeys) -> dict[str, Any]:
    item = records.table.get_item(Key=keys.record, ConsistentRead=True).get("Item", {})
    return {name: value for name, value in item.items() if name not in ("pk", "sk")}


def statuses(records: RecordStore, keys: ClipKeys) -> list[str]:
    return [entry["status"] for entry in read(records, keys)["statusHistory"]]


def test_a_record_that_was_completed_since_it_was_read_is_not_claimed(
    records: RecordStore, keys: ClipKeys, detected: Write
) -> None:
    detected()
    assert records.claim(keys, "run-1", completed_at="").granted
    assert not records.claim(keys, "run-2", completed_at="").is_complete
    records.complete(keys, "run-1", RESULT)
    claim = records.claim(keys, "run-2", completed_at="")
    assert (claim.granted, claim.owner, claim.is_complete) == (False, "run-1", True)
    assert not records.claim(keys, "run-1", completed_at="").granted
    assert statuses(records, keys)[1:] == ["Generation in Progress", "Generation Complete"]
    assert records.claim(keys, "run-2", completed_at=read(records, keys)["updatedAt"]).granted


def test_a_complete_record_has_exactly_the_fields_of_the_contract(
    records: RecordStore, keys: ClipKeys, detected: Write
) -> None:
    before = detected(segments=[{"startTime": "00:00:01", "endTime": "00:00:02"}], title="kept")
    assert records.claim(keys, "run-1").granted
    records.complete(keys, "run-1", RESULT)
    outbox().send(keys)
    record = read(records, keys)
    history = record.pop("statusHistory")
    assert history[0] == before["statusHistory"][0]
    assert [set(entry) for entry in history[1:]] == [{"status", "timestamp"}] * 2
    assert all(NOW.fullmatch(entry["timestamp"]) for entry in history)
    assert NOW.fullmatch(record.pop("updatedAt"))
    assert record == {
        "segments": before["segments"],
        "title": "kept",
        "status": "Generation Complete",
        "flowRunId": "run-1",
        "s3Key": "e/clips/c/clip.mp4",
        "fileSize": 45728640,
        "duration": "00:02:15",
        "durationSeconds": pytest.approx(135.5),
        "resolution": "1920x1080",
        "segmentCount": 3,
    }


def test_a_failure_is_stored_in_the_record_and_removed_by_a_later_success(
    records: RecordStore, keys: ClipKeys, detected: Write
) -> None:
    detected()
    records.claim(keys, "run-1")
    records.fail(keys, "run-1", FAILURE)
    failed = read(records, keys)
    assert failed["status"] == "Generation Failed"
    assert failed["statusHistory"][-1]["error"] == "It broke."
    error = failed["processingError"]
    assert (error["message"], error["code"]) == ("It broke.", "FFMPEG_ERROR")
    assert error["timestamp"] == failed["updatedAt"]
    records.claim(keys, "run-2")
    records.complete(keys, "run-2", RESULT)
    assert "processingError" not in read(records, keys)
    assert statuses(records, keys) == [
        "detected",
        "Generation in Progress",
        "Generation Failed",
        "Generation in Progress",
        "Generation Complete",
    ]


def test_a_crashed_run_does_not_keep_the_error_of_an_earlier_run(
    records: RecordStore, keys: ClipKeys, detected: Write
) -> None:
    detected(failedState="ChildTasksFailed")
    records.claim(keys, "run-2")
    records.fail(keys, "run-2", Failure(FailureCode.CRASHED, "gone"))
    assert "failedState" not in read(records, keys)


def test_a_record_without_a_history_gets_one(records: RecordStore, keys: ClipKeys) -> None:
    records.table.put_item(Item={**keys.record, "status": "detected"})
    records.claim(keys, "run-1")
    records.fail(keys, "run-1", FAILURE)
    assert statuses(records, keys) == ["Generation in Progress", "Generation Failed"]


def test_only_one_of_many_runs_claims_the_record(
    records: RecordStore, keys: ClipKeys, detected: Write
) -> None:
    detected()
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda n: records.claim(keys, f"run-{n}"), range(24)))
    assert sum(claim.granted for claim in claims) == 1
    assert statuses(records, keys) == ["detected", "Generation in Progress"]
    owner = read(records, keys)["flowRunId"]
    assert {claim.owner for claim in claims if not claim.granted} == {owner}


def test_a_claim_made_again_by_its_own_run_changes_nothing(
    records: RecordStore, keys: ClipKeys, detected: Write
) -> None:
    detected()
    records.claim(keys, "run-1")
    before = read(records, keys)
    assert records.claim(keys, "run-1").granted
    assert read(records, keys) == before


def test_only_one_run_takes_over_from_a_dead_owner(
    records: RecordStore, keys: ClipKeys, detected: Write
) -> None:
    detected()
    records.claim(keys, "dead")
    assert records.claim(keys, "run-2", dead_owner="dead").granted
    assert not records.claim(keys, "run-3", dead_owner="dead").granted


def test_an_older_run_never_overwrites_a_newer_one(
    records: RecordStore, keys: ClipKeys, detected: Write
) -> None:
    detected()
    records.claim(keys, "old")
    records.claim(keys, "new", dead_owner="old")
    with pytest.raises(OwnershipLostError):
        records.fail(keys, "old", FAILURE)
    records.complete(keys, "new", RESULT)
    with pytest.raises(OwnershipLostError):
        records.fail(keys, "old", FAILURE)
    with pytest.raises(OwnershipLostError):
        records.fail(keys, "new", FAILURE)
    assert read(records, keys)["status"] == "Generation Complete"


def test_a_write_whose_response_was_lost_is_not_repeated(
    records: RecordStore, keys: ClipKeys, detected: Write
) -> None:
    detected()
    records.claim(keys, "run-1")
    records.complete(keys, "run-1", RESULT)
    records.complete(keys, "run-1", RESULT)
    assert len(statuses(records, keys)) == 3


def test_a_late_failure_creates_no_record(records: RecordStore, keys: ClipKeys) -> None:
    with pytest.raises(OwnershipLostError):
        records.fail(keys, "run-1", FAILURE)
    assert read(records, keys) == {}


def test_an_event_with_segments_may_come_before_the_record(
    records: RecordStore, keys: ClipKeys
) -> None:
    with pytest.raises(InvalidInputError, match="There is no record of clip c"):
        records.claim(keys, "run-1")
    segments = [{"startTime": 1.5, "endTime": "00:00:02", "order": 1.5}]
    clip_request = ClipRequest.read({"clipId": "c", "segments": segments}, "it")
    assert records.claim(keys, "run-1", clip_request.initial_attributes).granted
    assert read(records, keys)["segments"] == [
        {"startTime": "00:00:01.5", "endTime": "00:00:02", "order": pytest.approx(1.5)}
    ]


def test_due_clips_are_neither_complete_nor_in_progress(records: RecordStore) -> None:
    for clip, status in {
        "a": "detected",
        "b": "pending",
        "c": "Generation Failed",
        "d": "Generation in Progress",
        "e": "Generation Complete",
        "f": "archived",
    }.items():
        records.table.put_item(Item={**ClipKeys("t", "due", clip).record, "status": status})
    records.table.put_item(Item={"pk": "t#due", "sk": "track#main", "status": "detected"})
    assert records.due_clips("t", "due") == ["a", "b", "c"]


def test_a_shorts_framing_has_the_field_names_of_the_contract(records: RecordStore) -> None:
    keys = ShortsKeys("u", "framing", "warehouse")
    framing = Framing(
        speaker_in_frame=0.75,
        confidence=0.5,
        cuts=2,
        layouts=(LayoutSpan(start=0, end=1.5, layout=Layout.CROP),),
    )
    moment = Moment(start=Fraction(1), end=Fraction(3), score=9, why="It is short.", title="Short")
    short = Short.made(1, keys.short(1), moment, 100, framing)
    records.claim(keys, "run-1", {})
    records.complete(keys, "run-1", ShortsResult(segment_count=1, shorts=[short]))
    [recorded] = plain(records.table.get_item(Key=keys.record)["Item"])["shorts"]
    assert recorded["framing"] == {
        "speakerInFrame": 0.75,
        "confidence": 0.5,
        "cuts": 2,
        "layouts": [{"start": 0, "end": 1.5, "layout": "crop"}],
    }


def test_the_texts_of_two_hundred_shorts_fit_into_one_record(records: RecordStore) -> None:
    keys = ShortsKeys("u", "many", "klippers_warehouse")
    layouts = tuple(LayoutSpan(start=n, end=n + 1, layout=Layout.CROP) for n in range(20))
    shorts = [
        Short.made(
            number,
            keys.short(number),
            Moment(
                id=f"m{number}000-{number}999",
                start=Fraction(number),
                end=Fraction(number + 50),
                score=1,
                why="About clips, ends and titles.",
                title="Ω" * 60,
                description="話" * 300,
                hashtags=("人工智能",) * 5,
            ),
            100,
            Framing(layouts=layouts),
            etag=f"{number:032}",
        )
        for number in range(1, 201)
    ]
    assert records.claim(keys, "a", {}).granted
    records.complete(keys, "a", ShortsResult(segment_count=200, shorts=shorts))
    found = records.shorts(keys)
    assert [one["index"] for one in found] == list(range(1, 201))
    assert all(one["hashtags"] == ["人工智能"] * 5 for one in found)
    # The texts of fewer shorts are stored in full.
    fewer = ShortsKeys("u", "fewer", "klippers_warehouse")
    assert records.claim(fewer, "b", {}).granted
    records.complete(fewer, "b", ShortsResult(segment_count=20, shorts=shorts[:20]))
    assert records.shorts(fewer)[0]["description"] == "話" * 300
