"""The EventBridge event, the Prefect event made from it, and its trace context."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from clipflow.domain.clips import BeginClipGeneration
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import Model, parse_json

# W3C Trace Context, 3.2: version, trace id, parent id, flags.
_W3C = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
# AWS X-Ray Developer Guide, tracing header: W3C's trace id in two parts after a version.
_X_RAY = re.compile(r"(\w+)=([^;]+)")
_X_RAY_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_SPAN = re.compile(r"[0-9a-f]{16}")
_SAMPLED = 1
# Prefect 3.8.8 stores at most 524,288 bytes of parameters for a run, which has others too.
MAX_REQUEST_BYTES = 500_000
# An escaped NUL: an odd number of backslashes before its `u`.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True)
class TraceContext:
    """The ids of one span: 32 and 16 hexadecimal digits, and whether it is sampled."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """The value of the W3C header `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"

    @classmethod
    def read(cls, header: object) -> Self | None:
        """The context in a `traceparent` or `X-Amzn-Trace-Id`; None if it is not usable."""
        if not isinstance(header, str):
            return None
        trace_id, span_id, sampled = _w3c(header) or _x_ray(header) or ("", "", False)
        usable = trace_id.strip("0") and span_id.strip("0")
        return cls(trace_id, span_id, sampled) if usable else None


def event_trace_context(event_id: UUID, caller: TraceContext | None = None) -> TraceContext:
    """The trace context of an event's span: in its sender's trace, else in a new one.

    It is derived from the event's id, so other processes can compute it.
    """
    span_id = hashlib.sha256(event_id.bytes).hexdigest()[:16]
    if caller:
        return TraceContext(caller.trace_id, span_id, caller.sampled)
    return TraceContext(event_id.hex, span_id)


def _w3c(header: str) -> tuple[str, str, bool] | None:
    match = _W3C.fullmatch(header.strip().lower())
    return (match[1], match[2], bool(int(match[3], 16) & _SAMPLED)) if match else None


def _x_ray(header: str) -> tuple[str, str, bool] | None:
    fields = dict(_X_RAY.findall(header))
    root = _X_RAY_ROOT.fullmatch(fields.get("Root", "").lower())
    span_id = fields.get("Parent", "").lower()
    if not root or not _SPAN.fullmatch(span_id):
        return None
    return root[1] + root[2], span_id, fields.get("Sampled") != "0"


SOURCE = "nullcheck.clips"
DETAIL_TYPE = "Begin Clip Generation"
PREFECT_EVENT = "nullcheck.clips.begin-clip-generation"
# The label of the Prefect event's resource with the traceparent of the event's span.
TRACEPARENT = "clipflow.traceparent"
# Fields of an event's detail that may have its sender's trace context: W3C's and X-Ray's.
_CALLERS = ("traceparent", "X-Amzn-Trace-Id")


class EventBridgeEvent(Model):
    """The envelope around a `Begin Clip Generation` detail."""

    id: UUID
    source: Literal["nullcheck.clips"]
    detail_type: Literal["Begin Clip Generation"] = Field(alias="detail-type")
    time: datetime
    detail: BeginClipGeneration


class PrefectEvent(BaseModel):
    """The fields of a Prefect event that clipflow sets.

    Attributes:
        payload: `tenantId`, `episodeId`, and the whole request as JSON text in `detail`. It is a
            string because Prefect evaluates objects with special keys (`__prefect_kind`) anywhere
            in a run's parameters.
        caller: the sender's span, if the event names one.
    """

    id: UUID
    occurred: datetime
    event: str = PREFECT_EVENT
    resource: dict[str, str]
    payload: dict[str, str]
    caller: TraceContext | None = Field(default=None, exclude=True)

    @property
    def tenant_id(self) -> str:
        return self.payload["tenantId"]

    @property
    def episode_id(self) -> str:
        return self.payload["episodeId"]


def put_events_entry(request: BeginClipGeneration) -> dict[str, Any]:
    """The event of `request` as an entry for EventBridge's PutEvents."""
    detail = request.model_dump(mode="json", exclude_none=True)
    return {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": json.dumps(detail)}


def envelope(event_id: UUID, request: BeginClipGeneration, time: datetime) -> str:
    """The body of a queue message with `request`, in the format of EventBridge."""
    return json.dumps(
        {
            "version": "0",
            "id": str(event_id),
            "source": SOURCE,
            "detail-type": DETAIL_TYPE,
            "time": time.isoformat(),
            "resources": [],
            "detail": request.model_dump(mode="json", exclude_none=True),
        }
    )


def to_prefect_event(body: str, header: str | None = None) -> PrefectEvent:
    """The Prefect event for the body of a queue message; `header` is the message's X-Ray header.

    Raises InvalidInputError, with the reason, if the body is not a valid event.
    """
    raw = parse_json(body, "the message")
    event = EventBridgeEvent.read(raw, "the event")
    request = event.detail
    name = f"{request.tenant_id}.{request.episode_id}"
    caller = caller_trace_context(raw["detail"], header)
    return PrefectEvent(
        id=event.id,
        occurred=event.time,
        resource={
            "prefect.resource.id": f"{SOURCE}.{name}",
            "prefect.resource.name": name,
            TRACEPARENT: event_trace_context(event.id, caller).traceparent,
        },
        payload={
            "tenantId": request.tenant_id,
            "episodeId": request.episode_id,
            "detail": request_text(request),
        },
        caller=caller,
    )


def request_text(request: BeginClipGeneration) -> str:
    """`request` as JSON text, for a flow run's parameter `request`.

    It has only the fields of the contract. Raises InvalidInputError if Prefect could not store it.
    """
    detail = request.model_dump(mode="json", exclude_none=True)
    text = json.dumps(detail, ensure_ascii=False)
    if _NUL.search(text):
        raise InvalidInputError("the event contains a NUL character, which no record can store.")
    size = len(json.dumps(text))
    if size > MAX_REQUEST_BYTES:
        raise InvalidInputError(
            f"the event's detail is {size:,} bytes in Prefect's form, more than"
            f" {MAX_REQUEST_BYTES:,}.",
            "Send its clips in several events.",
        )
    return text


def caller_trace_context(
    detail: Mapping[str, Any], header: str | None = None
) -> TraceContext | None:
    """The sender's span, from the event's detail, else from the message's trace header."""
    found = (TraceContext.read(value) for value in (*map(detail.get, _CALLERS), header))
    return next(filter(None, found), None)
