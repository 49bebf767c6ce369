"""Events that request clips, as EventBridge puts them into a queue."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from clipflow.domain.events import DETAIL_TYPE, SOURCE

DETAIL = {"tenantId": "tenant-123", "episodeId": "episode-456", "clips": [{"clipId": "clip-789"}]}


def envelope(age: timedelta = timedelta(), **changes: object) -> dict[str, Any]:
    """A new event of the given age."""
    return {
        "version": "0",
        "id": str(uuid4()),
        "source": SOURCE,
        "detail-type": DETAIL_TYPE,
        "account": "000000000000",
        "region": "us-east-1",
        "time": (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "resources": [],
        "detail": DETAIL,
        **changes,
    }
