"""The log lines of a finished record, from which metrics are derived."""

from typing import Any
from uuid import uuid4

import pytest

from clipflow.domain.clips import ClipResult
from clipflow.domain.errors import Failure, FailureCode, OwnershipLostError
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.shorts import Moment, Short, ShortsResult
from clipflow.storage.records import RecordStore

INITIAL: dict[str, Any] = {"segments": [{"startTime": "0", "endTime": "1"}]}


@pytest.fixture
def clip() -> ClipKeys:
    return ClipKeys("t", uuid4().hex, "c")


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record)["fields"] for record in caplog.records if "fields" in vars(record)]


def made(key: str) -> ClipResult:
    return ClipResult(
        s3_key=key,
        file_size=1234,
        duration="00:00:01",
        duration_seconds=1.0,
        resolution="1x1",
        segment_count=1,
    )


@pytest.mark.slow
def test_a_complete_clip_logs_its_bytes_and_seconds_since_the_claim(
    records: RecordStore, clip: ClipKeys, caplog: pytest.LogCaptureFixture
) -> None:
    records.claim(clip, "run", INITIAL)
    # Times in a record have a resolution of one second.
    claimed = records.table.get_item(Key=clip.record)["Item"]["updatedAt"]
    past = str(claimed).replace("Z", "+00:00")
    update = {"UpdateExpression": "SET updatedAt = :then"}
    values = {":then": f"{int(past[:4]) - 1}{past[4:]}"}
    records.table.update_item(Key=clip.record, **update, ExpressionAttributeValues=values)  # type: ignore[arg-type]
    records.complete(clip, "run", made(clip.clip))
    (line,) = logged(caplog)
    year = 365 * 24 * 3600
    assert year <= line.pop("seconds") <= year + 24 * 3600 + 60
    assert line == {
        "event": "record_complete",
        "job": "clips",
        "bytes": 1234,
        "tenant_id": "t",
        "episode_id": clip.episode_id,
        "clip_id": "c",
    }


def test_a_record_that_another_run_owns_is_not_counted(
    records: RecordStore, clip: ClipKeys, caplog: pytest.LogCaptureFixture
) -> None:
    records.claim(clip, "run", INITIAL)
    with pytest.raises(OwnershipLostError):
        records.complete(clip, "another", made(clip.clip))
    assert logged(caplog) == []


def test_a_failure_is_counted_by_its_code_once(
    records: RecordStore, clip: ClipKeys, caplog: pytest.LogCaptureFixture
) -> None:
    records.claim(clip, "run", INITIAL)
    failure = Failure(FailureCode.TIMEOUT, "It took too long.")
    for _ in range(2):
        records.fail(clip, "run", failure)
    (line,) = logged(caplog)
    assert (line["event"], line["job"], line["code"]) == ("record_failed", "clips", "TIMEOUT")
    assert "clip c failed: It took too long." in caplog.text


def test_shorts_log_the_total_bytes_of_the_shorts_made(
    records: RecordStore, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ShortsKeys(uuid4().hex, "v", "warehouse")
    moment = Moment.model_validate(
        {"start": "00:00:00,000", "end": "00:00:01,000", "score": 1, "why": "", "title": ""}
    )
    shorts = [Short.made(number, f"{number}.mp4", moment, 100 * number) for number in (1, 2)]
    records.claim(keys, "run", {})
    records.complete(keys, "run", ShortsResult(segment_count=2, shorts=shorts))
    (line,) = logged(caplog)
    assert (line["job"], line["bytes"], line["user_id"]) == ("shorts", 300, keys.user_id)
    assert line["seconds"] in (0, 1)
