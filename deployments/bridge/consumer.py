"""The queue's consumer: SQS messages in flight, and what happens to each of them next."""

import asyncio
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError

from deployments.bridge.message import Message, OutageError, Refused, read
from deployments.bridge.prefect_server import PAGE, Server

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


log = logging.getLogger("clipflow.bridge")


@dataclass(frozen=True)
class Pace:
    """Seconds."""

    poll: int = 1  # what is in hand is confirmed as often, and an idle bridge stops within it
    answer: float = 10  # for the Prefect server to answer one request
    post_again: float = 10  # more than the server's flush interval, 5 by default
    visibility: int = 60
    extend_below: float = 35  # more than a turn and its delay take when nothing answers
    first_delay: float = 0.5
    longest_delay: float = 10
    sweep: float = 10  # a lost heartbeat is seen after 95 s, and two minutes are promised
    grace: float = 2  # for the turn under way to end when told to stop


class Carrier:
    """Carries until `stop` is set."""

    def __init__(self, queue: Queue, server: Server, stop: asyncio.Event, pace: Pace) -> None:
        self._queue = queue
        self._server = server
        self._stop = stop
        self._pace = pace
        self._hand: dict[str, Message] = {}

    async def run(self) -> None:
        """Turn after turn; in an outage with growing delays, and one warning for each change."""
        outage, delay = "", self._pace.first_delay
        while not self._stop.is_set():
            try:
                await self._turn()
            except OutageError as error:
                if str(error) != outage:
                    log.warning("waiting: %s", error)
                outage = str(error)
                for message in self._hand.values():
                    message.post_at = 0  # a server that died has lost what it had not stored
                await self._pause(delay)
                delay = min(2 * delay, self._pace.longest_delay)
            else:
                if outage:
                    log.info("working again")
                outage, delay = "", self._pace.first_delay

    async def give_back(self) -> None:
        """Leaves nothing in hand: deletes what the server has, the rest is visible at once."""
        with suppress(OutageError, TimeoutError):
            async with asyncio.timeout(self._pace.poll):
                await self._confirm()
        try:
            await self._delete()
            await self._queue.hide(list(self._hand.values()), 0)
        except OutageError as error:
            log.warning("not given back, visible again within a minute: %s", error)

    async def _turn(self) -> None:
        await self._queue.find()
        await self._keep_invisible()
        await self._bury()
        await self._confirm()  # with nothing in hand too: nothing is received in an outage
        await self._delete()
        await self._post()  # what an outage kept in hand
        if room := PAGE - len(self._hand):
            received = await self._queue.receive(room, self._pace.poll, self._pace.visibility)
            self._hand |= {message.id: message for message in received}
            if received:
                await self._confirm()  # of two deliveries the second may come much later
        else:
            await self._pause(self._pace.poll)
        await self._post()

    async def _keep_invisible(self) -> None:
        limit = time.monotonic() + self._pace.extend_below
        expiring = [m for m in self._hand.values() if m.visible_at < limit]
        for lost in await self._queue.hide(expiring, self._pace.visibility):
            del self._hand[lost]

    async def _bury(self) -> None:
        for message in [m for m in self._hand.values() if m.poison and not m.settled]:
            try:
                await self._queue.bury(message)
            except Refused as error:
                # Too long with its reason, perhaps: SQS itself moves it, after its last receive.
                log.error("left to the redrive policy %s: %s: %s", message, message.poison, error)
                del self._hand[message.id]
            else:
                ids = {"fields": message.ids}
                log.error("dead-lettered %s: %s", message, message.poison, extra=ids)
                message.settled = True

    async def _confirm(self) -> None:
        events = self._events()
        for id in await self._server.stored(events):
            events[id][0].trace()
            for message in events[id]:
                message.settled = True
                log.info("forwarded %s", message, extra={"fields": message.ids})

    async def _delete(self) -> None:
        for gone in await self._queue.delete([m for m in self._hand.values() if m.settled]):
            del self._hand[gone]

    async def _post(self) -> None:
        now = time.monotonic()
        due = {id: ms for id, ms in self._events().items() if any(m.post_at <= now for m in ms)}
        if not due:
            return
        refused = await self._server.post({id: ms[0].posting for id, ms in due.items()})
        for id, messages in due.items():
            if messages[0].posts == 1 and 0 < messages[0].post_at <= now:
                log.warning("accepted by the server, but not stored yet: event=%s", id)
            for message in messages:
                message.posts += 1
                message.post_at = now + self._pace.post_again
                message.poison = refused.get(id, "")

    def _events(self) -> dict[UUID, list[Message]]:
        """What is to be forwarded, by event: one may have been delivered many times."""
        events = defaultdict(list)
        for message in self._hand.values():
            if message.event and not message.poison and not message.settled:
                events[message.event.id].append(message)
        return events

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
