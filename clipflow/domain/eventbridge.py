"""The event as EventBridge delivers it, and the Prefect event it becomes."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from clipflow.domain.clips import BeginClipGeneration
from clipflow.domain.model import Model, parsed

SOURCE = "nullcheck.clips"
DETAIL_TYPE = "Begin Clip Generation"
PREFECT_EVENT = "nullcheck.clips.begin-clip-generation"


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


def to_prefect_event(body: str) -> PrefectEvent:
    """The Prefect event for a queue message's body.

    Raises InvalidInput, with the reason, where the body is not a valid event.
    """
    raw = parsed(body, "the message")
    event = EventBridgeEvent.read(raw, "the event")
    name = f"{event.detail.tenant_id}.{event.detail.episode_id}"
    return PrefectEvent(
        id=event.id,
        occurred=event.time,
        resource={
            "prefect.resource.id": f"{SOURCE}.{name}",
            "prefect.resource.name": name,
        },
        payload=raw["detail"],
    )
