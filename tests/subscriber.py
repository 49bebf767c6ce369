"""A subscriber to clipflow's events: a queue that a rule of the default event bus sends them to."""

import json
from typing import Any
from uuid import uuid4

import boto3

from tests.programs import eventually


class Subscriber:
    """A new queue, and a new rule that sends every event of clipflow to it."""

    def __init__(self, url: str | None = None) -> None:
        self.sqs: Any = boto3.client("sqs", endpoint_url=url)
        events: Any = boto3.client("events", endpoint_url=url)
        name = f"subscriber-{uuid4().hex}"
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        response = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        events.put_rule(Name=name, EventPattern=json.dumps({"source": ["clipflow"]}))
        target = {"Id": "queue", "Arn": response["Attributes"]["QueueArn"]}
        events.put_targets(Rule=name, Targets=[target])
        self.received: list[dict[str, Any]] = []

    def of(self, name: str) -> list[dict[str, Any]]:
        """The events so far whose detail names this episode or video, in the order of arrival."""
        while messages := self.sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=1
        ).get("Messages"):
            for message in messages:
                self.received.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        named = ("episodeId", "videoId")
        return [e for e in self.received if name in map(e["detail"].get, named)]

    def wait_for(self, name: str, count: int) -> list[dict[str, Any]]:
        """Wait for exactly `count` events of this episode or video, and return them."""
        eventually(lambda: len(self.of(name)) >= count)
        events = self.of(name)
        assert len(events) == count
        return events
