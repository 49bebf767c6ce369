"""What the Prefect server knows of events and runs, page after page."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.events import Event
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter

from clipflow.domain.events import PREFECT_EVENT
from deployments.bridge.server import PAGE, answering
from tasks.flow_runs import Job

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
