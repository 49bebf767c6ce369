"""What the AWS account tells of clipflow: stacks, queues, records, logs; and the event into it."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from clipflow.domain.clips import BeginClipGeneration, ClipStatus
from clipflow.domain.errors import InvalidInputError, TerminalError
from clipflow.domain.events import put_events_entry
from clipflow.storage.records import BY_STATUS
from deployments.operate import templates
from deployments.operate.stacks import Stacks

_DEPTHS = {
    "ApproximateNumberOfMessages": "waiting",
    "ApproximateNumberOfMessagesNotVisible": "in hand",
}


def client(service: str, environment: Mapping[str, str] = os.environ) -> Any:
    """boto3's, for the region and the endpoint of the environment."""
    return boto3.client(
        service,  # type: ignore[call-overload]
        region_name=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
        config=Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 4}),
    )


@dataclass(frozen=True)
class InProgress:
    """A record that a run works on, since when."""

    record: str
    since: str
    run: str


class Found:
    """The account as it is. What it is called, the environment says, else the stacks do."""

    @cached_property
    def stacks(self) -> dict[str, str]:
        """Every stack of clipflow's with its status."""
        pages = client("cloudformation").get_paginator("describe_stacks").paginate()
        return {
            stack["StackName"]: stack["StackStatus"]
            for page in pages
            for stack in page["Stacks"]
            if stack["StackName"].startswith(f"{templates.STACKS}-")
        }

    @cached_property
    def _told(self) -> dict[str, str]:
        """Variables, by the outputs of the stacks that are there."""
        told: dict[str, str] = {}
        asked = Stacks(client("cloudformation"))
        for template in templates.read():
            if template.stack in self.stacks:
                outputs = asked.outputs(template.stack).items()
                told |= {template.outputs.get(name, name): value for name, value in outputs}
        return told

    def name(self, variable: str) -> str:
        """Raises InvalidInputError where nothing tells it."""
        value = os.environ.get(variable) or self._told.get(variable)
        if not value:
            raise InvalidInputError(
                f"{variable} is not set, and no stack tells it.", "`make deploy`, or `make up`."
            )
        return value

    def queues(self) -> Iterator[tuple[str, str]]:
        """The queue of events and its dead-letter queue: name, and how many wait."""
        sqs = client("sqs")
        name = self.name("CLIPFLOW_QUEUE_NAME")
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        yield name, _depth(told)
        dead = json.loads(told["RedrivePolicy"])["deadLetterTargetArn"].rpartition(":")[2]
        url = sqs.get_queue_url(QueueName=dead)["QueueUrl"]
        told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        yield dead, _depth(told)

    def in_progress(self) -> list[InProgress]:
        """What runs work on by their records, the oldest first; at most 1 MB of them."""
        table = self.name("TABLE_NAME")
        page = client("dynamodb").query(
            TableName=table,
            IndexName=BY_STATUS,
            KeyConditionExpression="#status = :status",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":status": {"S": ClipStatus.IN_PROGRESS.value}},
        )
        return [
            InProgress(
                f"{item['pk']['S']} {item['sk']['S']}",
                item["updatedAt"]["S"],
                item.get("flowRunId", {}).get("S", ""),
            )
            for item in page["Items"]
        ]

    def logs(self, minutes: int) -> Iterator[str]:
        """The flow runs' lines of the last `minutes`.

        Raises InvalidInputError where there is no log group: on one machine there are files.
        """
        group = self.name("CLIPFLOW_LOG_GROUP")
        since = datetime.now(UTC) - timedelta(minutes=minutes)
        pages = (
            client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=group, startTime=int(since.timestamp() * 1000))
        )
        for event in (event for page in pages for event in page["events"]):
            at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
            yield f"{at:%H:%M:%S}  {event['logStreamName']}  {event['message'].rstrip()}"


def ask_for_clips(tenant_id: str, episode_id: str) -> str:
    """Puts the event that begins an episode's clips; its id.

    Raises pydantic's ValidationError for an id that is none, TerminalError where the event is
    refused.
    """
    asked = {"tenantId": tenant_id, "episodeId": episode_id}
    request = BeginClipGeneration.model_validate(asked)
    answer = client("events").put_events(Entries=[put_events_entry(request)])
    (entry,) = answer["Entries"]
    if answer["FailedEntryCount"]:
        raise TerminalError(f"EventBridge refused the event: {entry.get('ErrorMessage', entry)}")
    return str(entry["EventId"])


def _depth(told: Mapping[str, str]) -> str:
    return ", ".join(f"{told[name]} {meaning}" for name, meaning in _DEPTHS.items())
