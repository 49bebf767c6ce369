"""What a queue message becomes: a Prefect event to post, or poison with a reason."""

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clipflow.domain.errors import Failure, InvalidInputError, TransientError
from clipflow.domain.events import (
    TRACEPARENT,
    PrefectEvent,
    TraceContext,
    caller_trace_context,
    to_prefect_event,
)
from clipflow.telemetry.tracing import record_past_span

if TYPE_CHECKING:
    from types_boto3_sqs.type_defs import MessageTypeDef

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class OutageError(TransientError):
    """The queue or the server cannot do its part now."""


class Refused(OutageError):
    """The queue or the server answers, and will not do just this."""


@dataclass
class Message:
    """A message in hand: received, and neither deleted nor given back. Times are monotonic."""

    id: str
    receipt: str
    body: str
    receives: int
    visible_at: float
    event: PrefectEvent | None = None
    posting: bytes = b""
    poison: str = ""  # the reason, where it is poison
    posts: int = 0
    post_at: float = 0
    settled: bool = False  # all that is left to do is to delete it
    trace_header: str | None = None  # X-Ray's, where whoever put the event sent one
    received: float = field(default_factory=time.time)  # seconds since 1970

    def __str__(self) -> str:
        """What a log line says of it."""
        words: dict[str, object] = {"message": self.id, "receives": self.receives}
        if self.event:
            detail = self.event.payload
            words["event"] = str(self.event.id)
            words |= {"tenant": detail.get("tenantId"), "episode": detail.get("episodeId")}
        return " ".join(f"{word}={value}" for word, value in words.items())

    @property
    def ids(self) -> dict[str, str]:
        """The same for whoever looks for it by field."""
        if not self.event:
            return {}
        detail, at = self.event.payload, TraceContext.read(self.event.resource[TRACEPARENT])
        told = {"tenant_id": detail["tenantId"], "episode_id": detail["episodeId"]}
        return {**told, "trace_id": at.trace_id if at else ""}

    def trace(self) -> None:
        """The event's own span: from its receipt until now, when the server has it."""
        at = self.event and TraceContext.read(self.event.resource[TRACEPARENT])
        if self.event and at:
            caller = caller_trace_context(self.event.payload, self.trace_header)
            record_past_span("event", at, caller, self.received, self.ids)


def read(raw: "MessageTypeDef", visible_at: float) -> Message:
    """A received message, with the event to post or the reason why there is none."""
    receives = int(raw["Attributes"]["ApproximateReceiveCount"])
    message = Message(raw["MessageId"], raw["ReceiptHandle"], raw["Body"], receives, visible_at)
    message.trace_header = raw["Attributes"].get("AWSTraceHeader")
    try:
        message.event = to_prefect_event(message.body, message.trace_header)
        message.posting = posting(message.event, datetime.now(UTC))
    # Whatever a body does to our code, those behind it must get through.
    except Exception as error:  # noqa: BLE001
        message.poison = Failure.of(error).message
    return message


def posting(event: PrefectEvent, now: datetime) -> bytes:
    """The JSON to post. Raises InvalidInputError where the server could not store it.

    `occurred` is now, not the event's own time. The server deletes what occurred before its
    retention (7 days), hides what occurred in the future, and takes the latest `occurred` for the
    present: after a restart, an event replayed after three days would set its proactive triggers
    back by three days, and a reactive trigger with a `within` may pass it over as late.
    """
    try:
        text = event.model_copy(update={"occurred": now}).model_dump_json()
    except ValueError as error:  # half of a surrogate pair, or nested too deep
        raise InvalidInputError(f"the event cannot be written as JSON: {error}.") from None
    if _NUL.search(text):
        # PostgreSQL would refuse it after the 204, and with it every event of the same flush.
        raise InvalidInputError("the event holds a NUL character, which Prefect cannot store.")
    return text.encode()
