"""The limit of an event's size, in bytes."""

import json
from uuid import uuid4

import pytest

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.events import PrefectEvent, to_prefect_event


def event_of_size(size: int) -> PrefectEvent:
    """The Prefect event of a request that is `size` bytes in Prefect's form."""

    def event(notes: str) -> PrefectEvent:
        segment = {"startTime": 1, "endTime": 2, "notes": notes}
        detail = {
            "tenantId": "t",
            "episodeId": "e",
            "clips": [{"clipId": "c", "segments": [segment], "sourceKey": "main.mp4"}],
        }
        body = {
            "id": str(uuid4()),
            "source": "nullcheck.clips",
            "detail-type": "Begin Clip Generation",
            "time": "2025-01-15T10:30:00Z",
            "detail": detail,
        }
        return to_prefect_event(json.dumps(body))

    return event("x" * (size - len(json.dumps(event("").payload["detail"]))))


def test_a_request_up_to_the_limit_is_accepted_and_a_larger_one_is_refused() -> None:
    assert len(json.dumps(event_of_size(500_000).payload["detail"])) == 500_000
    with pytest.raises(InvalidInputError, match=r"500,001 bytes.*several events"):
        event_of_size(500_001)
