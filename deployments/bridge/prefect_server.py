"""The Prefect server: posts and reads events, starts and finds flow runs.

A request that fails raises `OutageError`.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.events import Event
from prefect.events.filters import EventFilter, EventIDFilter, EventNameFilter, EventOccurredFilter
from prefect.exceptions import ObjectNotFound

from clipflow.domain.events import PREFECT_EVENT
from deployments.bridge.message import OutageError, Refused
from tasks.flow_runs import Job

PAGE = 50  # the most events that /events/filter gives in one answer
_NO_EVENT = UUID(int=0)
_ABOUT_THE_REQUEST = {400, 413, 422}  # any other error status is the server's or its set-up's


class Server:
    """Posts events and asks for them. `patience`: seconds for the server to answer one request."""

    def __init__(self, client: PrefectClient, patience: float) -> None:
        self._client = client
        self._patience = patience

    async def stored(self, ids: Collection[UUID]) -> set[UUID]:
        """Which of at most `PAGE` events the server has; raises OutageError where it does not
        answer."""
        # Without an id the filter would mean every event. By itself it means events of the last 180
        # days until now, by the clock of this machine: the one that `occurred` is taken from.
        wanted = EventFilter(id=EventIDFilter(id=list(ids) or [_NO_EVENT]))
        async with answering(self._patience):
            page = await self._client.read_events(wanted, limit=PAGE)
        return {event.id for event in page.events} & set(ids)

    async def post(self, events: dict[UUID, bytes]) -> dict[UUID, str]:
        """Posts all of them; gives those that the server refuses for what they are, and why."""
        try:
            async with answering(self._patience):
                await self._client.request(
                    "POST",
                    "/events",
                    content=b"[" + b",".join(events.values()) + b"]",
                    headers={"Content-Type": "application/json"},
                )
        except Refused as refusal:
            if len(events) == 1:
                return dict.fromkeys(events, refusal.message)
            refused: dict[UUID, str] = {}
            for id, event in events.items():
                refused |= await self.post({id: event})
            return refused
        return {}


@asynccontextmanager
async def answering(patience: float) -> AsyncIterator[None]:
    """Within it, a request that fails or takes longer than `patience` seconds is an OutageError;
    one that the server will not have is Refused."""
    try:
        # The client itself waits as long as a Retry-After header or a maintenance tells it to.
        async with asyncio.timeout(patience):
            yield
    except httpx.HTTPStatusError as error:
        # Not the error's own text: it holds the server's answer, which repeats the request.
        status = error.response.status_code
        kind = Refused if status in _ABOUT_THE_REQUEST else OutageError
        raise kind(f"The Prefect server answers HTTP {status}.") from None
    except ObjectNotFound as error:
        raise Refused("The Prefect server has no such deployment: deploy prefect.yaml.") from error
    except (httpx.HTTPError, TimeoutError) as error:
        raise OutageError(f"The Prefect server does not answer: {type(error).__name__}.") from None
    except ValueError as error:
        raise OutageError("What answers at PREFECT_API_URL is no Prefect server.") from error


_RUNS = 200  # the most that the server gives in one answer


class Runs:
    """Of the server. `patience`: seconds for it to answer one request; then it is an
    OutageError."""

    def __init__(self, client: PrefectClient, patience: float) -> None:
        self._client = client
        self._patience = patience

    async def start(self, job: Job, key: str, tags: list[str]) -> FlowRun:
        """The run that does it; for the same key it is the same run."""
        async with answering(self._patience):
            deployment = await self._client.read_deployment_by_name(job.deployment)
            return await self._client.create_flow_run_from_deployment(
                deployment.id, parameters=job.parameters, idempotency_key=key, tags=tags
            )

    async def events(self, since: datetime, until: datetime) -> AsyncIterator[Event]:
        """Those that ask for clips."""
        wanted = EventFilter(
            event=EventNameFilter(name=[PREFECT_EVENT]),
            occurred=EventOccurredFilter(since=since, until=until),
        )
        async with answering(self._patience):
            page = await self._client.read_events(wanted, limit=PAGE)
        while True:
            for event in page.events:
                yield event
            if page.next_page is None:
                return
            async with answering(self._patience):
                page = await self._client.read_events_page(str(page.next_page))

    async def of(self, names: list[str], wanted: FlowRunFilter) -> AsyncIterator[FlowRun]:
        """Those of flows with these names."""
        flows, offset = FlowFilter(name=FlowFilterName(any_=names)), 0
        while True:
            async with answering(self._patience):
                runs = await self._client.read_flow_runs(
                    flow_filter=flows, flow_run_filter=wanted, limit=_RUNS, offset=offset
                )
            for run in runs:
                yield run
            if len(runs) < _RUNS:
                return
            offset += _RUNS

    async def by_id(self, ids: Iterable[str]) -> AsyncIterator[FlowRun]:
        """Those that Prefect knows."""
        known = sorted({id for id in ids if _is_uuid(id)})
        for start in range(0, len(known), _RUNS):
            some = FlowRunFilterId(any_=[UUID(id) for id in known[start : start + _RUNS]])
            async with answering(self._patience):
                runs = await self._client.read_flow_runs(flow_run_filter=FlowRunFilter(id=some))
            for run in runs:
                yield run


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
