"""What was lost on the way is found, and started again once.

- An event that the server has stored and no run was started for: the server died in between.
- A record in progress with no live run behind it: whatever should have marked it could not. It is
  marked, since there may be no worker for long; started again once, unless that cannot help.
- A run that ended badly, and the run of `mark-failed` that was to settle it came to nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import Event
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter

from clipflow.domain.errors import ClipflowError, Failure, MachineLost, OwnershipLost, Terminal
from clipflow.domain.eventbridge import PREFECT_EVENT
from clipflow.domain.transitions import timestamp
from clipflow.storage.records import InProgress, RecordStore
from deployments.bridge.server import PAGE, answering
from tasks.ended import error_of
from tasks.jobs import BEGIN, GENERATE_CLIP, GENERATE_SHORTS, Job, job_of
from tasks.marks import AGAIN, settle

log = logging.getLogger("clipflow.bridge")

# Hooks come in a second or two, where a worker is alive. A lost heartbeat is seen after 95 s at the
# latest, and two minutes are promised.
SETTLED = timedelta(seconds=5)
# An event's own automation fires within a second.
FIRED = timedelta(seconds=20)
# Nobody knows how long there was no sweep before the first turn.
LONGEST_ABSENCE = timedelta(days=1)
OVERLAP = timedelta(minutes=10)
JOBS = [BEGIN, GENERATE_CLIP, GENERATE_SHORTS]
ENDED_BADLY = [StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]
_RUNS = 200  # the most that the server gives in one answer


@dataclass
class Swept:
    """What a turn has found and done."""

    in_progress: int = 0
    oldest_seconds: int = 0
    begun: int = 0
    started_again: int = 0
    marked: int = 0

    def __str__(self) -> str:
        return (
            f"{self.in_progress} in progress, {self.begun} events begun,"
            f" {self.started_again} started again, {self.marked} marked"
        )


class Sweep:
    """Turn after turn. `patience`: seconds for the server to answer one request."""

    def __init__(self, client: PrefectClient, records: RecordStore, patience: float) -> None:
        self._client = client
        self._records = records
        self._patience = patience
        self._swept_until = datetime.now(UTC) - LONGEST_ABSENCE
        self._settled: set[UUID] = set()

    async def turn(self) -> Swept:
        """Raises Outage or StorageUnavailable where somebody does not answer."""
        now, swept = datetime.now(UTC), Swept()
        await self._begin(now, swept)
        await self._take_up(now, swept)
        await self._settle(now)
        return swept

    async def _begin(self, now: datetime, swept: Swept) -> None:
        """Starts what stored events ask for and their automation has not started."""
        since, until = self._swept_until - OVERLAP, now - FIRED
        lately = FlowRunFilter(expected_start_time=FlowRunFilterExpectedStartTime(after_=since))
        begun = {run.parameters.get("event_id") async for run in self._runs_of([BEGIN], lately)}
        async for event in self._events(since, until):
            if str(event.id) not in begun:
                log.warning("no run for event=%s: started now", event.id)
                await self._start(_begin_job(event), f"event:{event.id}", [])
                swept.begun += 1
        self._swept_until = until

    async def _take_up(self, now: datetime, swept: Swept) -> None:
        """Starts again, or marks, what is in progress and nobody works on."""
        entries = await asyncio.to_thread(lambda: list(self._records.in_progress(now)))
        if not entries:
            return
        oldest = datetime.fromisoformat(entries[0].since)
        swept.in_progress, swept.oldest_seconds = len(entries), int((now - oldest).total_seconds())
        old = [entry for entry in entries if entry.since < timestamp(now - SETTLED)]
        runs = {str(run.id): run async for run in self._runs(entry.owner for entry in old)}
        for entry in old:
            run = runs.get(entry.owner)
            if run is None or _is_long_over(run, now):
                await self._take_up_one(entry, run, swept)

    async def _take_up_one(self, entry: InProgress, owner: FlowRun | None, swept: Swept) -> None:
        """The record says what happened, also where no worker is there for the second run; that
        goes on from there."""
        error = error_of(owner, owner.state) if owner else None
        if not (owner and AGAIN in owner.tags) and not isinstance(error, Terminal):
            job = job_of(entry.keys)
            parameters = owner.parameters if owner else job.parameters
            key = f"{AGAIN}:{'/'.join(entry.keys.record.values())}:{entry.owner}"
            run = await self._start(Job(job.flow, parameters), key, [AGAIN])
            log.warning("nobody worked on %s: run %s goes on", entry.keys.label, run.id)
            swept.started_again += 1
        await asyncio.to_thread(self._mark, entry, error)
        swept.marked += 1

    def _mark(self, entry: InProgress, error: ClipflowError | None) -> None:
        lost = MachineLost("Its run is over and left it in progress.", "Start it again to go on.")
        try:
            self._records.fail(entry.keys, entry.owner, Failure.of(error or lost))
            log.warning("nobody worked on %s: marked as failed", entry.keys.label)
        except OwnershipLost as gone:
            log.info("%s", gone)

    async def _settle(self, now: datetime) -> None:
        """Does what `mark-failed` does, for each run that ended badly not long ago."""
        ended = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ENDED_BADLY)),
            end_time=FlowRunFilterEndTime(after_=now - OVERLAP, before_=now - SETTLED),
        )
        runs = [run.id async for run in self._runs_of(JOBS, ended)]
        for run_id in runs:
            if run_id not in self._settled:
                async with answering(self._patience):
                    await asyncio.to_thread(settle.fn, run_id)
                self._settled.add(run_id)
        self._settled &= set(runs)

    async def _start(self, job: Job, key: str, tags: list[str]) -> FlowRun:
        async with answering(self._patience):
            deployment = await self._client.read_deployment_by_name(job.deployment)
            return await self._client.create_flow_run_from_deployment(
                deployment.id, parameters=job.parameters, idempotency_key=key, tags=tags
            )

    async def _events(self, since: datetime, until: datetime) -> AsyncIterator[Event]:
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

    async def _runs_of(self, names: list[str], wanted: FlowRunFilter) -> AsyncIterator[FlowRun]:
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

    async def _runs(self, ids: Iterable[str]) -> AsyncIterator[FlowRun]:
        """Those that Prefect knows."""
        known = sorted({id for id in ids if _is_uuid(id)})
        for start in range(0, len(known), _RUNS):
            some = FlowRunFilterId(any_=[UUID(id) for id in known[start : start + _RUNS]])
            async with answering(self._patience):
                runs = await self._client.read_flow_runs(flow_run_filter=FlowRunFilter(id=some))
            for run in runs:
                yield run


def _begin_job(event: Event) -> Job:
    detail = event.payload
    asked = {
        "tenant_id": detail["tenantId"],
        "episode_id": detail["episodeId"],
        "clips": detail.get("clips"),
        "event_id": str(event.id),
    }
    return Job(BEGIN, asked)


def _is_long_over(run: FlowRun, now: datetime) -> bool:
    state = run.state
    return state is not None and state.is_final() and now - state.timestamp > SETTLED


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
