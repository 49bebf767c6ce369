"""End-to-end tests of the whole stack, from an EventBridge event to clip.mp4 and its record."""

import json
import os
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deployments.local_stack import RunningStack
from tests.made_media import frame_numbers, make_source
from tests.programs import eventually

pytestmark = [pytest.mark.slow]

COMPLETE_HISTORY = ["detected", "Generation in Progress", "Generation Complete"]
SEGMENTS = [
    {"startTime": "00:00:05", "endTime": "00:00:06", "order": 1},
    {"startTime": "00:00:01.52", "endTime": "00:00:02", "order": 0},
]
FRAMES = [*range(38, 50), *range(125, 150)]


class UserAccess:
    """What a user can access: S3, DynamoDB, EventBridge and SQS, and the Prefect API."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.s3 = stack.client("s3")
        self.sqs = stack.client("sqs")
        self._events = stack.client("events")
        self._table = stack.resource("dynamodb").Table("clipflow-records")

    def episode(self, source: Path, *clips: str, segments: Any = SEGMENTS) -> str:
        episode_id = f"episode-{uuid4().hex[:8]}"
        self.s3.upload_file(str(source), "clipflow-media", f"{episode_id}/tracks/main.mp4")
        for clip in clips:
            history = [{"status": "detected", "timestamp": "2025-01-15T10:30:00Z"}]
            record = {"status": "detected", "statusHistory": history, "segments": segments}
            self._table.put_item(Item={**_key(episode_id, clip), **record})
        return episode_id

    def put_event(self, episode_id: str, **more: Any) -> None:
        self.put_detail(json.dumps({"tenantId": "t", "episodeId": episode_id, **more}))

    def put_detail(self, detail: str) -> None:
        entry = {"Source": "nullcheck.clips", "DetailType": "Begin Clip Generation"}
        assert (
            self._events.put_events(Entries=[{**entry, "Detail": detail}])["FailedEntryCount"] == 0
        )

    def record(self, episode_id: str, clip: str) -> dict[str, Any]:
        return dict(self._table.get_item(Key=_key(episode_id, clip), ConsistentRead=True)["Item"])

    def history(self, episode_id: str, clip: str) -> list[str]:
        return [entry["status"] for entry in self.record(episode_id, clip)["statusHistory"]]

    def wait_for_status(self, episode_id: str, clip: str, status: str) -> None:
        eventually(lambda: self.record(episode_id, clip)["status"] == status)

    def runs(self, name: str) -> list[dict[str, Any]]:
        filters = {"flow_runs": {"name": {"any_": [name]}}}
        url = f"{self.stack.env['PREFECT_API_URL']}/flow_runs/filter"
        return list(httpx.post(url, json=filters).raise_for_status().json())

    def waiting(self, queue: str) -> int:
        url = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        response = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(response["Attributes"][name]) for name in names)


def _key(episode_id: str, clip: str) -> dict[str, str]:
    return {"pk": f"t#{episode_id}", "sk": f"clip#{clip}"}


@pytest.fixture(scope="module")
def user(stack: RunningStack) -> UserAccess:
    return UserAccess(stack)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "main.mp4"
    return make_source(path, seconds=8, sound=("-c:a", "aac"))


def test_an_event_makes_the_clips_that_are_due(
    user: UserAccess, source: Path, tmp_path: Path
) -> None:
    episode_id = user.episode(source, "one", "two")
    user.put_event(episode_id)
    for clip in ("one", "two"):
        user.wait_for_status(episode_id, clip, "Generation Complete")
        assert user.history(episode_id, clip) == COMPLETE_HISTORY
        record = user.record(episode_id, clip)
        assert record["s3Key"] == f"{episode_id}/clips/{clip}/clip.mp4"
        assert (record["duration"], float(record["durationSeconds"])) == ("00:00:01", 1.48)
        user.s3.download_file("clipflow-media", record["s3Key"], str(tmp_path / "clip.mp4"))
        assert frame_numbers(tmp_path / "clip.mp4") == FRAMES
    assert len(user.runs(episode_id)) == 1
    eventually(lambda: user.runs(episode_id)[0]["state_type"] == "COMPLETED")
    # All clips are complete, so the run of the next event ends in a named state without work.
    user.put_event(episode_id)
    eventually(lambda: "NothingToGenerate" in {r["state_name"] for r in user.runs(episode_id)})


def test_an_event_sent_five_times_makes_its_clip_once(user: UserAccess, source: Path) -> None:
    clip = f"clip-{uuid4().hex[:6]}"
    episode_id = user.episode(source, clip)
    for _ in range(5):
        user.put_event(episode_id, clips=[{"clipId": clip}])
    eventually(lambda: len(user.runs(clip)) == 5)
    finished = ("COMPLETED", "FAILED", "CRASHED")
    eventually(lambda: all(run["state_type"] in finished for run in user.runs(clip)))
    assert user.history(episode_id, clip) == COMPLETE_HISTORY
    others = [run["state_name"] for run in user.runs(clip) if run["state_name"] != "Completed"]
    assert len(others) == 4
    assert set(others) <= {"AlreadyMade", "AlreadyInProgress"}


def test_malformed_events_are_dead_lettered_without_blocking_others(
    user: UserAccess, source: Path
) -> None:
    episode_id = user.episode(source, "good")
    before = user.waiting("clipflow-events-dlq")
    bad = [
        {},
        {"tenantId": "t"},
        {"tenantId": "../t", "episodeId": episode_id},
        {"tenantId": "t", "episodeId": episode_id, "clips": "good"},
        {"tenantId": "t", "episodeId": episode_id, "clips": [{"clipId": "good", "segments": []}]},
    ]
    for detail in bad:
        user.put_detail(json.dumps(detail))
    user.put_event(episode_id)
    user.wait_for_status(episode_id, "good", "Generation Complete")
    eventually(lambda: user.waiting("clipflow-events-dlq") == before + len(bad))
    eventually(lambda: user.waiting("clipflow-events") == 0)


def test_a_killed_run_fails_its_record_and_the_next_event_makes_the_clip(
    user: UserAccess, source: Path
) -> None:
    many = [{"startTime": n % 7, "endTime": n % 7 + 1} for n in range(20)]
    episode_id = user.episode(source, "long", segments=many)
    user.put_event(episode_id)
    user.wait_for_status(episode_id, "long", "Generation in Progress")
    os.kill(_process_of(user.record(episode_id, "long")["flowRunId"]), signal.SIGKILL)
    user.wait_for_status(episode_id, "long", "Generation Failed")
    assert user.record(episode_id, "long")["processingError"]["code"] == "CRASHED"
    user.put_event(episode_id)
    user.wait_for_status(episode_id, "long", "Generation Complete")
    assert user.history(episode_id, "long") == [
        *COMPLETE_HISTORY[:2],
        "Generation Failed",
        *COMPLETE_HISTORY[1:],
    ]
    assert user.record(episode_id, "long")["segmentCount"] == len(many)


def _process_of(run_id: str) -> int:
    """The process of a flow run: the oldest one with the id of the run in its environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if run_id in (process / "environ").read_text(errors="replace"):
                found.append(int(process.name))
        except OSError:  # owned by another user, or has ended
            continue
    return min(found)
