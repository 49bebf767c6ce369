"""Reads clipflow's state in an AWS account (stacks, queues, records, logs); sends the event."""

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
from deployments.cloudformation import templates
from deployments.cloudformation.stacks import Stacks

_DEPTHS = {
    "ApproximateNumberOfMessages": "waiting",
    "ApproximateNumberOfMessagesNotVisible": "in flight",
}


def client(service: str, environment: Mapping[str, str] = os.environ) -> Any:
    """A boto3 client for the region and the endpoint of the environment."""
    return boto3.client(
        service,  # type: ignore[call-overload]
        region_name=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
        config=Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 4}),
    )


@dataclass(frozen=True)
class InProgress:
    """A record in progress, with the time since when it is, and its flow run."""

    record: str
    since: str
    run: str


class Found:
    """The AWS account. Names come from the environment, else from the outputs of the stacks."""

    @cached_property
    def stacks(self) -> dict[str, str]:
        """The status of every stack of clipflow, by name."""
        pages = client("cloudformation").get_paginator("describe_stacks").paginate()
        return {
            stack["StackName"]: stack["StackStatus"]
            for page in pages
            for stack in page["Stacks"]
            if stack["StackName"].startswith(f"{templates.STACKS}-")
        }

    @cached_property
    def _outputs(self) -> dict[str, str]:
        """The variables that the outputs of the deployed stacks set."""
        found: dict[str, str] = {}
        stacks = Stacks(client("cloudformation"))
        for template in templates.read():
            if template.stack in self.stacks:
                outputs = stacks.outputs(template.stack).items()
                found |= {template.outputs.get(name, name): value for name, value in outputs}
        return found

    def name(self, variable: str) -> str:
        """The value of `variable`, from the environment or the stacks' outputs. Raises
        InvalidInputError if neither has it."""
        value = os.environ.get(variable) or self._outputs.get(variable)
        if not value:
            raise InvalidInputError(
                f"{variable} is not set, and no stack has it as an output.",
                "Run `make deploy`, or `make up`.",
            )
        return value

    def queues(self) -> Iterator[tuple[str, str]]:
        """The queue of events and its dead-letter queue: each name and number of messages."""
        sqs = client("sqs")
        name = self.name("CLIPFLOW_QUEUE_NAME")
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        yield name, _depth(attributes)
        dead = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"].rpartition(":")[2]
        url = sqs.get_queue_url(QueueName=dead)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        yield dead, _depth(attributes)

    def in_progress(self) -> list[InProgress]:
        """The records in progress, oldest first; at most 1 MB of them."""
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
        """The log lines of flow runs in the last `minutes`.

        Raises InvalidInputError if there is no log group, as on one machine.
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


def request_clips(tenant_id: str, episode_id: str) -> str:
    """Send the event that starts an episode's clips; returns its id.

    Raises pydantic's ValidationError for an invalid id, TerminalError if EventBridge refuses the
    event.
    """
    detail = {"tenantId": tenant_id, "episodeId": episode_id}
    request = BeginClipGeneration.model_validate(detail)
    answer = client("events").put_events(Entries=[put_events_entry(request)])
    (entry,) = answer["Entries"]
    if answer["FailedEntryCount"]:
        raise TerminalError(f"EventBridge refused the event: {entry.get('ErrorMessage', entry)}")
    return str(entry["EventId"])


def _depth(attributes: Mapping[str, str]) -> str:
    return ", ".join(f"{attributes[name]} {meaning}" for name, meaning in _DEPTHS.items())
