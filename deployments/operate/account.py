"""Reads clipflow's state in an AWS account (stacks, queues, records, logs), and requests clips."""

import heapq
import json
import os
from collections.abc import Collection, Iterator, Mapping
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

# CloudWatch's filter patterns have at most 1024 characters; one run takes 52 of them.
_RUNS_IN_PATTERN = 15
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
    """A record in progress: its keys, the time of its last change, and the id of its flow run."""

    record: str
    since: str
    run: str


class DeployedResources:
    """clipflow's resources in the AWS account of the environment.

    Their names are read from the environment, or else from the outputs of the deployed stacks.
    """

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
    def outputs(self) -> dict[str, str]:
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
        value = os.environ.get(variable) or self.outputs.get(variable)
        if not value:
            raise InvalidInputError(
                f"{variable} is not set, and no stack has it as an output.",
                "Run `make deploy`, or `make up`.",
            )
        return value

    def queues(self) -> Iterator[tuple[str, str]]:
        """The queue of events and its dead-letter queue: the name and the number of messages of
        each."""
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
        """The records in progress, oldest first, as far as one response of DynamoDB (1 MB) has
        them."""
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
        """The log lines of flow runs, workers, the bridge and the Prefect server in the account, of
        the last `minutes`, by time.

        Raises InvalidInputError if there is no log group, as on one machine.
        """
        since = datetime.now(UTC) - timedelta(minutes=minutes)
        groups = [self.name("CLIPFLOW_LOG_GROUP"), self.name("CLIPFLOW_BRIDGE_LOG_GROUP")]
        if own := self.outputs.get("CLIPFLOW_PREFECT_LOG_GROUP"):
            groups.append(own)
        events = (_log_events(group, since) for group in groups)
        for event in heapq.merge(*events, key=lambda event: int(event["timestamp"])):
            yield f"{_line(event)}  [{event['logStreamName']}]"

    def container_logs(
        self, runs: Collection[str], streams: Collection[str], since: datetime
    ) -> Iterator[tuple[str, list[str]]]:
        """Each log stream of the containers of flow runs, with its lines.

        A stream belongs to a run if one of its lines names the run. `streams` are the names of
        further streams of these runs, which may not exist: a container that ends early logs no
        line that names its run. Raises InvalidInputError if there is no log group.
        """
        group = self.name("CLIPFLOW_LOG_GROUP")
        found: dict[str, None] = dict.fromkeys(streams)
        ids = sorted(runs)
        for start in range(0, len(ids), _RUNS_IN_PATTERN):
            some = ids[start : start + _RUNS_IN_PATTERN]
            any_of = " || ".join(f'$.run_id = "{run}"' for run in some)
            for event in _log_events(group, since, filterPattern=f"{{ {any_of} }}"):
                if _fields(event).get("run_id") in runs:
                    found[event["logStreamName"]] = None
        for stream in found:
            events = _log_events(group, since, logStreamNames=[stream])
            # A warm machine has several runs at once.
            lines = [_line(e) for e in events if _fields(e).get("run_id") in (None, *runs)]
            if lines:
                yield stream, lines


def _log_events(group: str, since: datetime, **filters: Any) -> Iterator[dict[str, Any]]:
    """The events of a log group, by time; none if the group or a stream does not exist."""
    logs = client("logs")
    start = int(since.timestamp() * 1000)
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, startTime=start, **filters
    )
    try:
        for page in pages:
            yield from page["events"]
    except logs.exceptions.ResourceNotFoundException:
        return


def _fields(event: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a log line of clipflow; empty for a line that is not a JSON object."""
    try:
        found = json.loads(event["message"])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _line(event: Mapping[str, Any]) -> str:
    """A log event as a line for a person: its time, level and message, and any exception."""
    at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    fields = _fields(event)
    text = str(fields.get("message", event["message"])).rstrip()
    shown = [f"{at:%H:%M:%S}", str(fields.get("level", "")), text, str(fields.get("error", ""))]
    return "  ".join(part for part in shown if part)


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
