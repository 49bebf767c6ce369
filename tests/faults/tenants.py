"""Tenants as clients of the product: their episodes, events and records."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from clipflow.storage.records import plain
from deployments.local_stack import RunningStack
from deployments.local_stack.stack_settings import BUCKET, DEAD_LETTER_QUEUE, QUEUE, TABLE
from tests.envelopes import envelope
from tests.made_media import make_source

DETECTED, IN_PROGRESS = "detected", "Generation in Progress"
COMPLETE, FAILED = "Generation Complete", "Generation Failed"
# The status history of a clip that is made without any failure.
MADE = [DETECTED, IN_PROGRESS, COMPLETE]


@dataclass(frozen=True)
class Episode:
    """An episode of one tenant, with detected clips."""

    tenant: str
    clips: list[str]
    id: str = field(default_factory=lambda: f"episode-{uuid4().hex[:8]}")

    def key(self, clip: str) -> dict[str, str]:
        return {"pk": f"{self.tenant}#{self.id}", "sk": f"clip#{clip}"}


class Tenants:
    """Access of all tenants to the bucket, the table and the queues of a local stack.

    An instance has its own AWS clients and must not be shared between threads.
    """

    def __init__(self, stack: RunningStack) -> None:
        self.s3, self._sqs = stack.client("s3"), stack.client("sqs")
        self.table = stack.resource("dynamodb").Table(TABLE)

    def close(self) -> None:
        for client in (self.s3, self._sqs, self.table.meta.client):
            client.close()

    def detect(self, episode: Episode, source: Path, segments: list[dict[str, Any]]) -> Episode:
        """Store the episode's source and the records of its clips."""
        self.s3.upload_file(str(source), BUCKET, f"{episode.id}/tracks/main.mp4")
        history = [{"status": DETECTED, "timestamp": "2025-01-15T10:30:00Z"}]
        item = {"status": DETECTED, "statusHistory": history, "segments": segments}
        for clip in episode.clips:
            self.table.put_item(Item={**episode.key(clip), **item})
        return episode

    def deliver(self, body: str) -> None:
        """Send one message as EventBridge puts it into the queue."""
        self._sqs.send_message(QueueUrl=self._url(QUEUE), MessageBody=body)

    def records(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The current record of every clip, by tenant#episode and clip."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        arguments: dict[str, Any] = {"ConsistentRead": True}
        while True:
            page = self.table.scan(**arguments)
            found |= {(item["pk"], item["sk"]): dict(plain(item)) for item in page["Items"]}
            if "LastEvaluatedKey" not in page:
                return found
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def record(self, episode: Episode, clip: str) -> dict[str, Any]:
        answer = self.table.get_item(Key=episode.key(clip), ConsistentRead=True)
        return dict(plain(answer["Item"]))

    def objects(self, episode: Episode) -> list[dict[str, Any]]:
        """The objects of the episode's clips in the bucket."""
        prefix = f"{episode.id}/clips/"
        return list(self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", []))

    def message_counts(self) -> dict[str, int]:
        """The number of messages in each queue, including those in flight."""
        return {name: self._count(name) for name in (QUEUE, DEAD_LETTER_QUEUE)}

    def _count(self, name: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self._sqs.get_queue_attributes(QueueUrl=self._url(name), AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def _url(self, name: str) -> str:
        return str(self._sqs.get_queue_url(QueueName=name)["QueueUrl"])


def event_message(episode: Episode, *clips: str) -> str:
    """The body of an SQS message that requests these clips, or all clips that are due if none."""
    detail: dict[str, Any] = {"tenantId": episode.tenant, "episodeId": episode.id}
    if clips:
        detail["clips"] = [{"clipId": clip} for clip in clips]
    return json.dumps(envelope(detail=detail))


def history(record: dict[str, Any]) -> list[str]:
    """The statuses in the history of a record, in order."""
    return [entry["status"] for entry in record["statusHistory"]]


def tiny_source(path: Path) -> Path:
    """Three seconds of video. Clips take less than one second, so most work is starting runs."""
    return make_source(path, size=(160, 90), seconds=3, sound=("-c:a", "aac"))
