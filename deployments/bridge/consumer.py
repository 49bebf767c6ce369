"""The SQS consumer: receives messages, forwards them to Prefect, deletes or dead-letters them."""

import asyncio
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError

from deployments.bridge.message import Message, OutageError, RequestRejectedError, posting, read
from deployments.bridge.prefect_server import PAGE, Server

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import BatchResultErrorEntryTypeDef

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

BATCH = 10  # the maximum number of messages in one SQS request


@dataclass(frozen=True)
class Timings:
    """Intervals, delays and timeouts, in seconds."""

    poll: int = (
        1  # also how often messages in flight are confirmed, and how fast an idle bridge stops
    )
    request_timeout: float = 10  # of one request to the Prefect server
    repost_after: float = 10  # more than the server's flush interval, 5 by default
    visibility: int = 60
    extend_below: float = 35  # longer than a turn and its delay take if every request times out
    first_delay: float = 0.5
    longest_delay: float = 10
    longest_retry_after: float = 25  # less than `extend_below`, so that no message gets visible
    sweep_interval: float = 10  # a lost run is noticed after 100 s; docs promise two minutes
    check_interval: float = 60  # of the checks whose results are metrics
    warm_check_interval: float = 20  # of the warm machines, whose number follows these metrics
    shutdown_grace: float = 2  # for the current turn to end when the bridge is stopped

    def pause(self, retry_after: float) -> float:
        """The pause after a response with this Retry-After."""
        return min(retry_after, self.longest_retry_after)


class Queue:
    """The queue of events, and the dead-letter queue that its redrive policy names.

    Every method raises OutageError if SQS does not answer, and RequestRejectedError if it
    refuses the request.
    """

    def __init__(self, sqs: "SQSClient", name: str) -> None:
        self.name = name
        self._sqs = sqs
        self._url = ""
        self._dead_letter_url = ""

    async def find(self) -> None:
        """Looks up the URLs of both queues, once. Raises OutageError, with a remedy, if a queue
        does not exist yet."""
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
        except RequestRejectedError as error:
            raise OutageError(
                f"Queue {self.name} cannot be used: {error.message}", remedy
            ) from error

    async def receive(self, limit: int, wait: int, visibility: int) -> list[Message]:
        """Receives at most `limit` messages, waiting up to `wait` seconds for the first one."""
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
        """Hides messages for `seconds` from now; returns the ids whose receipts have expired."""
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
            lost |= _expired(response.get("Failed", []))
            for message in batch:
                message.visible_at = visible_at
        return lost

    async def delete(self, messages: Sequence[Message]) -> set[str]:
        """Deletes messages; returns the ids that were deleted or whose receipts have expired."""
        gone: set[str] = set()
        for batch in _batches(messages):
            response = await _call(
                self._sqs.delete_message_batch,
                QueueUrl=self._url,
                Entries=[{"Id": m.id, "ReceiptHandle": m.receipt} for m in batch],
            )
            gone |= {entry["Id"] for entry in response.get("Successful", [])}
            gone |= _expired(response.get("Failed", []))
        return gone

    async def dead_letter(self, body: str, reason: str) -> None:
        """Sends `body` to the dead-letter queue, with its reason in the attribute `reason`."""
        await self.find()
        await _call(
            self._sqs.send_message,
            QueueUrl=self._dead_letter_url,
            MessageBody=body,
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
        )

    async def _find(self, name: str) -> str:
        return (await _call(self._sqs.get_queue_url, QueueName=name))["QueueUrl"]


class Consumer:
    """Moves messages from the queue to the Prefect server until `stop` is set."""

    def __init__(
        self,
        queue: Queue,
        server: Server,
        stop: asyncio.Event,
        timings: Timings,
        alive_file: Path | None = None,
    ) -> None:
        self._queue = queue
        self._server = server
        self._stop = stop
        self._timings = timings
        self._alive_file = alive_file
        self._in_flight: dict[str, Message] = {}

    async def run(self) -> None:
        """Runs turns until `stop` is set, and touches `alive_file` before each. In an outage the
        delay between them grows, and a warning is logged whenever the reason changes."""
        outage, delay = "", self._timings.first_delay
        while not self._stop.is_set():
            if self._alive_file:
                self._alive_file.touch()
            try:
                await self._turn()
            except OutageError as error:
                if str(error) != outage:
                    logger.warning("waiting: %s", error)
                outage = str(error)
                for message in self._in_flight.values():
                    message.post_at = 0  # a server that restarts has lost the events not yet stored
                await self._pause(max(delay, self._timings.pause(error.retry_after)))
                delay = min(2 * delay, self._timings.longest_delay)
            else:
                if outage:
                    logger.info("working again")
                outage, delay = "", self._timings.first_delay

    async def release(self) -> None:
        """Releases the messages in flight: deletes those that the server has stored, and makes the
        others visible in the queue at once."""
        with suppress(OutageError, TimeoutError):
            async with asyncio.timeout(self._timings.poll):
                await self._confirm()
        try:
            await self._delete()
            await self._queue.hide(list(self._in_flight.values()), 0)
        except OutageError as error:
            logger.warning("not released, visible again within a minute: %s", error)

    async def _turn(self) -> None:
        await self._queue.find()
        await self._keep_invisible()
        await self._dead_letter()
        # Also if nothing is in flight: this raises in an outage, so that nothing is received then.
        await self._confirm()
        await self._delete()
        await self._post()  # messages that stayed in flight during an outage
        if capacity := PAGE - len(self._in_flight):
            received = await self._queue.receive(
                capacity, self._timings.poll, self._timings.visibility
            )
            self._in_flight |= {message.id: message for message in received}
            if received:
                await self._confirm()  # a second delivery may come long after the first was stored
        else:
            await self._pause(self._timings.poll)
        await self._post()

    async def _keep_invisible(self) -> None:
        limit = time.monotonic() + self._timings.extend_below
        expiring = [m for m in self._in_flight.values() if m.visible_at < limit]
        for lost in await self._queue.hide(expiring, self._timings.visibility):
            del self._in_flight[lost]

    async def _dead_letter(self) -> None:
        for message in [m for m in self._in_flight.values() if m.rejection and not m.done]:
            try:
                await self._queue.dead_letter(message.body, message.rejection)
            except RequestRejectedError as error:
                # The body and the reason may together exceed SQS's limit. SQS then moves the
                # message to the dead-letter queue itself, after the last receive.
                logger.error(
                    "left to the redrive policy %s: %s: %s", message, message.rejection, error
                )
                del self._in_flight[message.id]
            else:
                fields = {"fields": message.log_fields}
                logger.error("dead-lettered %s: %s", message, message.rejection, extra=fields)
                message.done = True

    async def _confirm(self) -> None:
        events = self._pending_events()
        for id in await self._server.stored(events):
            events[id][0].record_span()
            for message in events[id]:
                message.done = True
                logger.info("forwarded %s", message, extra={"fields": message.log_fields})

    async def _delete(self) -> None:
        for gone in await self._queue.delete([m for m in self._in_flight.values() if m.done]):
            del self._in_flight[gone]

    async def _post(self) -> None:
        now = time.monotonic()
        due = {
            id: messages
            for id, messages in self._pending_events().items()
            if any(message.post_at <= now for message in messages)
        }
        if not due:
            return
        occurred = datetime.now(UTC)
        bodies = {
            id: posting(event, occurred)
            for id, messages in due.items()
            if (event := messages[0].event)
        }
        rejected = await self._server.post(bodies)
        for id, messages in due.items():
            if messages[0].posts == 1 and 0 < messages[0].post_at <= now:
                logger.warning("accepted by the server, but not stored yet: event=%s", id)
            for message in messages:
                message.posts += 1
                message.post_at = now + self._timings.repost_after
                message.rejection = rejected.get(id, "")

    def _pending_events(self) -> dict[UUID, list[Message]]:
        """The messages to forward, by event id, as an event may have been delivered repeatedly."""
        events = defaultdict(list)
        for message in self._in_flight.values():
            if message.event and not message.rejection and not message.done:
                events[message.event.id].append(message)
        return events

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)


def _batches(messages: Sequence[Message]) -> list[Sequence[Message]]:
    return [messages[start : start + BATCH] for start in range(0, len(messages), BATCH)]


def _expired(failed: "Sequence[BatchResultErrorEntryTypeDef]") -> set[str]:
    # An expired receipt means that the message is in the queue again and will be received again.
    return {entry["Id"] for entry in failed if entry["SenderFault"]}


async def _call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return await asyncio.to_thread(function, *args, **kwargs)
    except ClientError as error:
        raise RequestRejectedError(f"SQS: {error.response['Error']['Code']}.") from error
    except BotoCoreError as error:
        raise OutageError(f"SQS: {type(error).__name__}.") from error
