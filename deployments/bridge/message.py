"""What a queue message becomes: a Prefect event to post, or a rejection with its reason."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clipflow.domain.errors import Failure, InvalidInputError, TransientError
from clipflow.domain.events import TRACEPARENT, PrefectEvent, TraceContext, to_prefect_event
from clipflow.telemetry.tracing import record_past_span

if TYPE_CHECKING:
    from types_boto3_sqs.type_defs import MessageTypeDef


class OutageError(TransientError):
    """The queue or the server cannot do its part now."""


class RequestRejectedError(OutageError):
    """The queue or the server answers, and refuses this one request for what it contains."""


@dataclass
class Message:
    """A message in flight: received, and neither deleted nor released.

    Attributes:
        receives: how often the queue has delivered it.
        visible_at: when the queue delivers it again, by the monotonic clock.
        event: what to post; None if the message is rejected.
        rejection: the reason, where it is rejected.
        posts: how often it was posted.
        post_at: when it is posted next, by the monotonic clock.
        done: whether all that is left to do is to delete it.
        received: seconds since 1970.
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
        """What a log line says of it."""
        words: dict[str, object] = {"message": self.id, "receives": self.receives}
        if self.event:
            words["event"] = str(self.event.id)
            words |= {"tenant": self.event.tenant_id, "episode": self.event.episode_id}
        return " ".join(f"{word}={value}" for word, value in words.items())

    @property
    def log_fields(self) -> dict[str, str]:
        """The same for structured logs, and for the event's span."""
        if not self.event:
            return {}
        context = TraceContext.read(self.event.resource[TRACEPARENT])
        return {
            "tenant_id": self.event.tenant_id,
            "episode_id": self.event.episode_id,
            "trace_id": context.trace_id if context else "",
        }

    def record_span(self) -> None:
        """Exports the event's own span: from its receipt until now, when the server has it."""
        context = self.event and TraceContext.read(self.event.resource[TRACEPARENT])
        if self.event and context:
            record_past_span("event", context, self.event.caller, self.received, self.log_fields)


def read(raw: "MessageTypeDef", visible_at: float) -> Message:
    """A received message, with the event to post or the reason why there is none."""
    receives = int(raw["Attributes"]["ApproximateReceiveCount"])
    message = Message(raw["MessageId"], raw["ReceiptHandle"], raw["Body"], receives, visible_at)
    try:
        event = to_prefect_event(message.body, raw["Attributes"].get("AWSTraceHeader"))
        posting(event, datetime.now(UTC))
        message.event = event
    # Whatever a body does to our code, those behind it must get through.
    except Exception as error:  # noqa: BLE001
        message.rejection = Failure.of(error).message
    return message


def posting(event: PrefectEvent, now: datetime) -> bytes:
    """The JSON to post. Raises InvalidInputError if it cannot be written.

    `occurred` is the time of the post, not the event's own time. The server deletes what occurred
    before its retention (7 days), hides what occurred in the future, and takes the latest
    `occurred` for the present: after a restart, an event replayed after three days would set its
    proactive triggers back by three days, and a reactive trigger with a `within` may pass it over
    as late.
    """
    try:
        return event.model_copy(update={"occurred": now}).model_dump_json().encode()
    except ValueError as error:  # half of a surrogate pair, or nested too deep
        raise InvalidInputError(f"the event cannot be written as JSON: {error}.") from None
