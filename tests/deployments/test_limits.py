"""The bridge keeps within the limits of Prefect Cloud: the period of a query, and the rate."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.events.filters import EventFilter

from deployments.bridge.consumer import Consumer, Queue, Timings
from deployments.bridge.prefect_server import EVENTS_KEPT, Server

NOW = datetime.now(UTC)


class Cloud:
    """A Prefect client that records the queries of events, and refuses all of them if `limited`."""

    def __init__(self, limited: bool = False) -> None:
        self.queries: list[tuple[float, timedelta]] = []
        self._limited = limited

    async def read_events(self, only: EventFilter, limit: int) -> Any:
        span = only.occurred.until - only.occurred.since
        self.queries.append((time.monotonic(), span))
        if self._limited:
            request = httpx.Request("POST", "http://prefect/api/events/filter")
            refusal = httpx.Response(429, headers={"Retry-After": "1"}, request=request)
            raise httpx.HTTPStatusError("Too many", request=request, response=refusal)
        return type("Page", (), {"events": [], "next_page": None})()

    @property
    def server(self) -> Server:
        return Server(cast(PrefectClient, self), 5)


@pytest.mark.parametrize("days", [1, 14, 60])
def test_a_query_of_events_spans_at_most_fourteen_days_after_any_outage(days: int) -> None:
    cloud = Cloud()

    async def read() -> None:
        await cloud.server.stored([])
        assert [event async for event in cloud.server.requests(NOW - timedelta(days), NOW)] == []

    asyncio.run(read())
    spans = [span for _, span in cloud.queries]
    assert spans == [EVENTS_KEPT, min(EVENTS_KEPT, timedelta(days))]
    assert max(spans) == timedelta(days=14)


def test_the_bridge_makes_no_request_until_the_time_that_the_server_names() -> None:
    cloud, stop = Cloud(limited=True), asyncio.Event()

    class NoQueue:
        async def find(self) -> None:
            """It exists."""

        async def hide(self, messages: Any, seconds: int) -> set[str]:
            return set()

    async def run() -> None:
        timings = Timings(first_delay=0.05, longest_delay=0.05)
        consumer = Consumer(cast(Queue, NoQueue()), cloud.server, stop, timings)
        running = asyncio.create_task(consumer.run())
        await asyncio.sleep(2.5)
        stop.set()
        await running

    asyncio.run(run())
    times = [when for when, _ in cloud.queries]
    # Without the header it would send about fifty queries.
    assert 2 <= len(times) <= 3
    assert all(later - earlier >= 1 for earlier, later in pairwise(times))
    # A longer time is shortened, so that no message in flight becomes visible meanwhile.
    assert Timings().pause(3600) < Timings().extend_below
