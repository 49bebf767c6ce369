"""The event as EventBridge delivers it, the Prefect event it becomes, and its place in a trace."""

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
from clipflow.domain.model import Model, parse_json

# W3C Trace Context, 3.2: version, trace id, parent id, flags.
_W3C = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
# AWS X-Ray Developer Guide, tracing header: its trace id is W3C's in two parts, with a version.
_X_RAY = re.compile(r"(\w+)=([^;]+)")
_X_RAY_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_SPAN = re.compile(r"[0-9a-f]{16}")
_SAMPLED = 1


@dataclass(frozen=True)
class TraceContext:
    """One span of a trace: 32 and 16 hexadecimal digits, and whether anybody collects it."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """As W3C's header of that name has it."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"

    @classmethod
    def read(cls, header: object) -> Self | None:
        """What a `traceparent` or an `X-Amzn-Trace-Id` says; None where it says nothing usable."""
        if not isinstance(header, str):
            return None
        trace_id, span_id, sampled = _w3c(header) or _x_ray(header) or ("", "", False)
        usable = trace_id.strip("0") and span_id.strip("0")
        return cls(trace_id, span_id, sampled) if usable else None


def event_trace_context(event_id: UUID, caller: TraceContext | None = None) -> TraceContext:
    """The place of an event's own span: in its caller's trace, else in a trace named by its id.

    Whoever has the event's id finds the same one, so nothing need carry it.
    """
    span_id = hashlib.sha256(event_id.bytes).hexdigest()[:16]
    if caller:
        return TraceContext(caller.trace_id, span_id, caller.sampled)
    return TraceContext(event_id.hex, span_id)


def _w3c(header: str) -> tuple[str, str, bool] | None:
    match = _W3C.fullmatch(header.strip().lower())
    return (match[1], match[2], bool(int(match[3], 16) & _SAMPLED)) if match else None


def _x_ray(header: str) -> tuple[str, str, bool] | None:
    told = dict(_X_RAY.findall(header))
    root = _X_RAY_ROOT.fullmatch(told.get("Root", "").lower())
    span_id = told.get("Parent", "").lower()
    if not root or not _SPAN.fullmatch(span_id):
        return None
    return root[1] + root[2], span_id, told.get("Sampled") != "0"


SOURCE = "nullcheck.clips"
DETAIL_TYPE = "Begin Clip Generation"
PREFECT_EVENT = "nullcheck.clips.begin-clip-generation"
# What of the resource says where the event's own span is, as W3C writes it.
TRACEPARENT = "clipflow.traceparent"
# Where an event's detail may say what called for it: W3C's header, and X-Ray's.
_CALLERS = ("traceparent", "X-Amzn-Trace-Id")


class EventBridgeEvent(Model):
    """The envelope around a `Begin Clip Generation` detail."""

    id: UUID
    source: Literal["nullcheck.clips"]
    detail_type: Literal["Begin Clip Generation"] = Field(alias="detail-type")
    time: datetime
    detail: BeginClipGeneration


class PrefectEvent(BaseModel):
    """The fields of a Prefect event that clipflow decides; `payload` is the detail as it came."""

    id: UUID
    occurred: datetime
    event: str = PREFECT_EVENT
    resource: dict[str, str]
    payload: dict[str, Any]


def put_events_entry(request: BeginClipGeneration) -> dict[str, Any]:
    """The event that asks for it, as EventBridge's PutEvents takes it."""
    detail = request.model_dump(mode="json", exclude_none=True)
    return {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": json.dumps(detail)}


def to_prefect_event(body: str, header: str | None = None) -> PrefectEvent:
    """The Prefect event for a queue message's body; `header` is the queue's own of X-Ray.

    Raises InvalidInputError, with the reason, where the body is not a valid event.
    """
    raw = parse_json(body, "the message")
    event = EventBridgeEvent.read(raw, "the event")
    name = f"{event.detail.tenant_id}.{event.detail.episode_id}"
    caller = caller_trace_context(raw["detail"], header)
    return PrefectEvent(
        id=event.id,
        occurred=event.time,
        resource={
            "prefect.resource.id": f"{SOURCE}.{name}",
            "prefect.resource.name": name,
            TRACEPARENT: event_trace_context(event.id, caller).traceparent,
        },
        payload=raw["detail"],
    )


def caller_trace_context(
    detail: Mapping[str, Any], header: str | None = None
) -> TraceContext | None:
    """The span that the event was put in: told by its detail, else by the queue's header."""
    told = (TraceContext.read(value) for value in (*map(detail.get, _CALLERS), header))
    return next(filter(None, told), None)
