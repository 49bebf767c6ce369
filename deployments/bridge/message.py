"""Queue messages, each turned into a Prefect event to post or a rejection with its reason."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clipflow.domain.errors import Failure, InvalidInputError, TransientError
from clipflow.domain.events import TRACEPARENT, PrefectEvent, TraceContext, to_prefect_event
from clipflow.telemetry.tracing import record_event
from tasks.flow_runs import BEGIN_CLIP_GENERATION

if TYPE_CHECKING:
    from types_boto3_sqs.type_defs import MessageTypeDef


class OutageError(TransientError):
    """The queue or the server is not available at the moment.

    Attributes:
        retry_after: for how many seconds the server wants no further request, as Prefect Cloud does
            if the limit of an account's plan is reached; 0 if it says nothing.
    """

    retry_after: float = 0


class RequestRejectedError(OutageError):
    """The queue or the server rejects one request because of its content."""


@dataclass
class Message:
    """A message in flight: it is received, and neither deleted nor released yet.

    Attributes:
        receives: how often the queue has delivered the message.
        visible_at: when the message becomes visible again, by the monotonic clock.
        event: the event to post; None if the message is rejected.
        rejection: why the message is rejected; empty if it is not.
        posts: how often the event was posted.
        post_at: when the event is posted next, by the monotonic clock.
        done: whether the message only has to be deleted.
        received: when the message was received, in seconds since 1970.
    """

    id: str
    receipt: str
    body: str
    receives: int
    visible_at: float
    event: PrefectEvent | None = None
    rejection: str = ""
    posts: int = 0
    post_at: float = 0
    done: bool = False
    received: float = field(default_factory=time.time)

    def __str__(self) -> str:
        """The message's ids for log lines, as `name=value` pairs."""
        words: dict[str, object] = {"message": self.id, "receives": self.receives}
        if self.event:
            words["event"] = str(self.event.id)
            words |= {"tenant": self.event.tenant_id, "episode": self.event.episode_id}
        return " ".join(f"{word}={value}" for word, value in words.items())

    @property
    def log_fields(self) -> dict[str, str]:
        """The ids for structured logs and for the event's span."""
        if not self.event:
            return {}
        context = TraceContext.read(self.event.resource[TRACEPARENT])
        return {
            "tenant_id": self.event.tenant_id,
            "episode_id": self.event.episode_id,
            "trace_id": context.trace_id if context else "",
        }

    def record_span(self) -> None:
        """Exports the event's spans, from the receipt of the message until now. Call it when the
        server has stored the event."""
        context = self.event and TraceContext.read(self.event.resource[TRACEPARENT])
        if self.event and context:
            caller, received = self.event.caller, self.received
            record_event(BEGIN_CLIP_GENERATION, context, caller, received, self.log_fields)


def read(raw: "MessageTypeDef", visible_at: float) -> Message:
    """Parses a received message into one with an event to post or a reason for its rejection."""
    receives = int(raw["Attributes"]["ApproximateReceiveCount"])
    message = Message(raw["MessageId"], raw["ReceiptHandle"], raw["Body"], receives, visible_at)
    try:
        event = to_prefect_event(message.body, raw["Attributes"].get("AWSTraceHeader"))
        posting(event, datetime.now(UTC))
        message.event = event
    # Whatever error a body causes, the messages behind it must still be processed.
    except Exception as error:  # noqa: BLE001
        message.rejection = Failure.of(error).message
    return message


def posting(event: PrefectEvent, now: datetime) -> bytes:
    """The event as JSON to post. Raises InvalidInputError if it cannot be written as JSON.

    `occurred` is the time of the post, not the time of the event. The server deletes events that
    occurred before its retention period (7 days), hides events that occurred in the future, and
    takes the latest `occurred` as the current time. An event replayed after three days would
    therefore set the server's proactive triggers back by three days after a restart, and a reactive
    trigger with a `within` might ignore it as late.
    """
    try:
        return event.model_copy(update={"occurred": now}).model_dump_json().encode()
    except ValueError as error:  # a lone surrogate, or JSON that is nested too deeply
        raise InvalidInputError(f"the event cannot be written as JSON: {error}.") from None
