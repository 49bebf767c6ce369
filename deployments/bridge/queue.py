"""The queue's side: SQS, each call with its failures as `OutageError`."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from deployments.bridge.message import Message, OutageError, Refused, read

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import BatchResultErrorEntryTypeDef

P = ParamSpec("P")
T = TypeVar("T")

BATCH = 10  # the most messages that SQS takes in one request


class Queue:
    """The events queue and the dead-letter queue that its redrive policy names."""

    def __init__(self, sqs: "SQSClient", name: str) -> None:
        self.name = name
        self._sqs = sqs
        self._url = ""
        self._dead_letter_url = ""

    async def find(self) -> None:
        """Finds both queues, once. Raises OutageError, with the remedy, where they do not exist
        yet."""
        if self._dead_letter_url:
            return
        remedy = "Deploy the stack of infra/, or set CLIPFLOW_QUEUE_NAME and AWS_REGION."
        try:
            self._url = await self._find(self.name)
            policy = await _call(
                self._sqs.get_queue_attributes, QueueUrl=self._url, AttributeNames=["RedrivePolicy"]
            )
            arn = json.loads(policy.get("Attributes", {})["RedrivePolicy"])["deadLetterTargetArn"]
            self._dead_letter_url = await self._find(arn.split(":")[-1])
        except KeyError:
            raise OutageError(f"Queue {self.name} has no dead-letter queue.", remedy) from None
        except Refused as error:
            raise OutageError(
                f"Queue {self.name} cannot be used: {error.message}", remedy
            ) from error

    async def receive(self, limit: int, wait: int, visibility: int) -> list[Message]:
        """At most `limit` messages, waiting `wait` seconds for the first one."""
        visible_at = time.monotonic() + visibility
        response = await _call(
            self._sqs.receive_message,
            QueueUrl=self._url,
            MaxNumberOfMessages=min(limit, BATCH),
            WaitTimeSeconds=wait,
            VisibilityTimeout=visibility,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "AWSTraceHeader"],
        )
        return [read(raw, visible_at) for raw in response.get("Messages", [])]

    async def hide(self, messages: Sequence[Message], seconds: int) -> set[str]:
        """Makes them visible `seconds` from now; gives the ids that are no longer ours to hide."""
        lost: set[str] = set()
        for batch in _batches(messages):
            visible_at = time.monotonic() + seconds
            response = await _call(
                self._sqs.change_message_visibility_batch,
                QueueUrl=self._url,
                Entries=[
                    {"Id": m.id, "ReceiptHandle": m.receipt, "VisibilityTimeout": seconds}
                    for m in batch
                ],
            )
            lost |= _hopeless(response.get("Failed", []))
            for message in batch:
                message.visible_at = visible_at
        return lost

    async def delete(self, messages: Sequence[Message]) -> set[str]:
        """Gives the ids of those that are gone from the queue, or no longer ours to delete."""
        gone: set[str] = set()
        for batch in _batches(messages):
            response = await _call(
                self._sqs.delete_message_batch,
                QueueUrl=self._url,
                Entries=[{"Id": m.id, "ReceiptHandle": m.receipt} for m in batch],
            )
            gone |= {entry["Id"] for entry in response.get("Successful", [])}
            gone |= _hopeless(response.get("Failed", []))
        return gone

    async def bury(self, message: Message) -> None:
        """A copy to the dead-letter queue, body unchanged, the reason in attribute `reason`."""
        await _call(
            self._sqs.send_message,
            QueueUrl=self._dead_letter_url,
            MessageBody=message.body,
            MessageAttributes={"reason": {"DataType": "String", "StringValue": message.poison}},
        )

    async def _find(self, name: str) -> str:
        return (await _call(self._sqs.get_queue_url, QueueName=name))["QueueUrl"]


def _batches(messages: Sequence[Message]) -> list[Sequence[Message]]:
    return [messages[start : start + BATCH] for start in range(0, len(messages), BATCH)]


def _hopeless(failed: "Sequence[BatchResultErrorEntryTypeDef]") -> set[str]:
    # The receipt has expired: the message is in the queue again and will be received anew.
    return {entry["Id"] for entry in failed if entry["SenderFault"]}


async def _call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return await asyncio.to_thread(function, *args, **kwargs)
    except ClientError as error:
        raise Refused(f"SQS: {error.response['Error']['Code']}.") from error
    except BotoCoreError as error:
        raise OutageError(f"SQS: {type(error).__name__}.") from error
