"""The event as EventBridge delivers it, and the Prefect event it becomes."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from clipflow.domain.clips import BeginClipGeneration
from clipflow.domain.model import Model, parsed
from clipflow.domain.traces import TracePlace, event_place

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
    raw = parsed(body, "the message")
    event = EventBridgeEvent.read(raw, "the event")
    name = f"{event.detail.tenant_id}.{event.detail.episode_id}"
    caller = caller_of(raw["detail"], header)
    return PrefectEvent(
        id=event.id,
        occurred=event.time,
        resource={
            "prefect.resource.id": f"{SOURCE}.{name}",
            "prefect.resource.name": name,
            TRACEPARENT: event_place(event.id, caller).traceparent,
        },
        payload=raw["detail"],
    )


def caller_of(detail: Mapping[str, Any], header: str | None = None) -> TracePlace | None:
    """The span that the event was put in: told by its detail, else by the queue's header."""
    told = (TracePlace.read(value) for value in (*map(detail.get, _CALLERS), header))
    return next(filter(None, told), None)
