"""The queue that the bridge reads, a bridge in this process, and a proxy of the Prefect server."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings

from clipflow.domain.events import DETAIL_TYPE, SOURCE
from deployments.bridge.__main__ import BridgeSettings, run_bridge
from deployments.bridge.consumer import Timings
from tests.programs import PrefectServer

if TYPE_CHECKING:
    from types_boto3_events import EventBridgeClient
    from types_boto3_sqs import SQSClient


class EventQueue:
    """An EventBridge rule, the queue behind it, and the queue's dead-letter queue."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.endpoint = endpoint
        self.name = name
        self._sqs: SQSClient = boto3.client("sqs", endpoint_url=endpoint)
        self._events: EventBridgeClient = boto3.client("events", endpoint_url=endpoint)

    def create(self) -> None:
        self._dead = self._sqs.create_queue(QueueName=f"{self.name}-dlq")["QueueUrl"]
        redrive_policy = {"deadLetterTargetArn": self._arn(self._dead), "maxReceiveCount": "5"}
        self._queue = self._sqs.create_queue(
            QueueName=self.name, Attributes={"RedrivePolicy": json.dumps(redrive_policy)}
        )["QueueUrl"]
        pattern = {"source": [SOURCE], "detail-type": [DETAIL_TYPE]}
        self._events.put_rule(Name=self.name, EventPattern=json.dumps(pattern))
        target = {"Id": "queue", "Arn": self._arn(self._queue)}
        self._events.put_targets(Rule=self.name, Targets=[target])  # type: ignore[list-item]

    def delete(self) -> None:
        self._events.remove_targets(Rule=self.name, Ids=["queue"])
        self._events.delete_rule(Name=self.name)

    def put_event(self, detail: object) -> str:
        """Send an event with PutEvents and return its id."""
        entry = {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": json.dumps(detail)}
        return self._events.put_events(Entries=[entry])["Entries"][0]["EventId"]  # type: ignore[list-item]

    def send(self, body: str) -> None:
        self._sqs.send_message(QueueUrl=self._queue, MessageBody=body)

    def message_counts(self) -> tuple[int, int]:
        """The number of visible messages and of messages in flight."""
        count = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["All"])
        visible = count["Attributes"]["ApproximateNumberOfMessages"]
        return int(visible), int(count["Attributes"]["ApproximateNumberOfMessagesNotVisible"])

    def is_empty(self) -> bool:
        """Whether no message is visible or in flight."""
        return self.message_counts() == (0, 0)

    def dead_letters(self) -> dict[str, str]:
        """The messages of the dead-letter queue: the reason of each, by body."""
        bodies: dict[str, str] = {}
        while messages := self._sqs.receive_message(
            QueueUrl=self._dead, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for m in messages:
                bodies[m["Body"]] = m["MessageAttributes"]["reason"]["StringValue"]
        return bodies

    def receive_count(self) -> int:
        """The number of times that the only visible message has been received so far."""
        (message,) = self._sqs.receive_message(
            QueueUrl=self._queue, MessageSystemAttributeNames=["ApproximateReceiveCount"]
        )["Messages"]
        return int(message["Attributes"]["ApproximateReceiveCount"]) - 1

    def _arn(self, url: str) -> str:
        names = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return names["Attributes"]["QueueArn"]


@contextmanager
def running_bridge(event_queue: EventQueue, api_url: str, timings: Timings) -> Iterator[None]:
    """Run the bridge in a thread of this process, with other timings than in production."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    settings = BridgeSettings.model_validate(
        {"CLIPFLOW_QUEUE_NAME": event_queue.name, "AWS_ENDPOINT_URL": event_queue.endpoint}
    )

    def run() -> None:
        with temporary_settings({PREFECT_API_URL: api_url}):
            loop.run_until_complete(run_bridge(settings, stop, timings))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


@contextmanager
def prefect_proxy(
    server: PrefectServer, respond: Callable[[str, str], int | None]
) -> Iterator[str]:
    """Run a proxy that forwards each request unless `respond(path, body)` returns a status."""

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if status := respond(self.path, body.decode()):
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            response = httpx.request(
                self.command,
                server.url + self.path.removeprefix("/api"),
                content=body,
                headers={"Content-Type": "application/json"},
            )
            self.send_response(response.status_code)
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        do_POST = do_GET = do_PATCH = forward

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        threading.Thread(target=listener.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}/api"
        finally:
            listener.shutdown()


def stored_events(server: PrefectServer, *ids: str) -> list[dict[str, Any]]:
    """The events with these ids that the Prefect server has stored."""
    query = {"filter": {"id": {"id": ids}}, "limit": 50}
    events: list[dict[str, Any]] = server.post("/events/filter", query).json()["events"]
    return events
