"""Client of the Prefect server: posts and reads events, starts and finds flow runs, checks health.

A failed request raises `OutageError`. The checks find late runs and pools without a worker. Their
results are metrics, which CloudWatch's alarms (`infra/alarms.yaml`) read, since a server that is
gone reports nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import Event
from prefect.events.filters import (
    EventFilter,
    EventIDFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventResourceFilter,
)
from prefect.exceptions import ObjectNotFound

from clipflow.domain.errors import TransientError
from clipflow.domain.events import PREFECT_EVENT
from clipflow.telemetry.logging import PREFECT_CHECKED, PREFECT_FAILED, WARM_CHECKED, emit_metric
from deployments.bridge.message import OutageError, RequestRejectedError
from deployments.work_pools import warm
from deployments.work_pools.pools import pool_filter
from tasks.child_requests import (
    EXTRACT,
    EXTRACT_GROUP,
    PREPARE,
    RENDER,
    RENDER_GROUP,
    TRANSCRIBE,
)
from tasks.flow_runs import BEGIN_CLIP_GENERATION, GENERATE_CLIP, GENERATE_SHORTS, Job

logger = logging.getLogger(__name__)

PAGE = 50  # the maximum number of events in one response of /events/filter
# clipflow's flows; there may be others in the same workspace.
FLOWS = [
    BEGIN_CLIP_GENERATION,
    GENERATE_CLIP,
    GENERATE_SHORTS,
    *(
        deployment.partition("/")[0]
        for deployment in (EXTRACT, EXTRACT_GROUP, RENDER, RENDER_GROUP, PREPARE, TRANSCRIBE)
    ),
    "mark-failed",
]
# How far back events are read: messages are in the queue for so long, and Prefect Cloud returns no
# events of a longer period.
EVENTS_KEPT = timedelta(days=14)
HEARTBEAT = "prefect.flow-run.heartbeat"
_RUN_RESOURCE = "prefect.flow-run."
_RUNS_PAGE = 200  # the maximum number of flow runs in one response
_NO_EVENT = UUID(int=0)
_SWEPT_UNTIL = "clipflow_swept_until"
# Statuses caused by the content of a request; others are caused by the server or its configuration.
_REJECTED = {400, 413, 422}


class Server:
    """Posts and reads events, starts and finds flow runs.

    Every method raises OutageError if the server does not answer within `timeout` seconds, and
    RequestRejectedError if it refuses the request.
    """

    def __init__(self, client: PrefectClient, timeout: float) -> None:
        self._client = client
        self._timeout = timeout

    async def stored(self, ids: Collection[UUID]) -> set[UUID]:
        """The ids among these, at most `PAGE`, whose events the server has stored. Raises
        OutageError if it does not answer."""
        # An empty list of ids would match every event. The clock is this machine's, from which
        # `occurred` is taken as well; the client's default of 180 days is more than Prefect Cloud
        # allows.
        now = datetime.now(UTC)
        only = EventFilter(
            id=EventIDFilter(id=list(ids) or [_NO_EVENT]),
            occurred=EventOccurredFilter(since=now - EVENTS_KEPT, until=now),
        )
        async with request_errors(self._timeout):
            page = await self._client.read_events(only, limit=PAGE)
        return {event.id for event in page.events} & set(ids)

    async def post(self, events: dict[UUID, bytes]) -> dict[UUID, str]:
        """Posts the events; returns the reason for each event that the server rejects."""
        try:
            async with request_errors(self._timeout):
                await self._client.request(
                    "POST",
                    "/events",
                    content=b"[" + b",".join(events.values()) + b"]",
                    headers={"Content-Type": "application/json"},
                )
        except RequestRejectedError as refusal:
            if len(events) == 1:
                return dict.fromkeys(events, refusal.message)
            refused: dict[UUID, str] = {}
            for id, event in events.items():
                refused |= await self.post({id: event})
            return refused
        return {}

    async def start_run(self, job: Job, key: str, tags: list[str]) -> FlowRun:
        """Starts a flow run for `job`; with the same key it returns the same run."""
        async with request_errors(self._timeout):
            deployment = await self._client.read_deployment_by_name(job.deployment)
            return await self._client.create_flow_run_from_deployment(
                deployment.id, parameters=job.parameters, idempotency_key=key, tags=tags
            )

    async def requests(self, since: datetime, until: datetime) -> AsyncIterator[Event]:
        """The stored events that request clips and occurred between `since` and `until`, at most
        `EVENTS_KEPT` before it: a longer outage must not make every later query invalid."""
        since = max(since, until - EVENTS_KEPT)
        only = EventFilter(
            event=EventNameFilter(name=[PREFECT_EVENT]),
            occurred=EventOccurredFilter(since=since, until=until),
        )
        async for event in self._events(only):
            yield event

    async def _events(self, only: EventFilter) -> AsyncIterator[Event]:
        async with request_errors(self._timeout):
            page = await self._client.read_events(only, limit=PAGE)
        while True:
            for event in page.events:
                yield event
            if page.next_page is None:
                return
            async with request_errors(self._timeout):
                page = await self._client.read_events_page(str(page.next_page))

    async def runs_of(self, flows: list[str], only: FlowRunFilter) -> AsyncIterator[FlowRun]:
        """The flow runs of flows with these names that match the filter `only`."""
        flow_filter, offset = FlowFilter(name=FlowFilterName(any_=flows)), 0
        while True:
            async with request_errors(self._timeout):
                runs = await self._client.read_flow_runs(
                    flow_filter=flow_filter, flow_run_filter=only, limit=_RUNS_PAGE, offset=offset
                )
            for run in runs:
                yield run
            if len(runs) < _RUNS_PAGE:
                return
            offset += _RUNS_PAGE

    async def runs_by_id(self, ids: Iterable[str]) -> AsyncIterator[FlowRun]:
        """The flow runs with these ids; ids without a flow run are skipped."""
        known = sorted({id for id in ids if _is_uuid(id)})
        for start in range(0, len(known), _RUNS_PAGE):
            some = FlowRunFilterId(any_=[UUID(id) for id in known[start : start + _RUNS_PAGE]])
            async with request_errors(self._timeout):
                runs = await self._client.read_flow_runs(flow_run_filter=FlowRunFilter(id=some))
            for run in runs:
                yield run

    async def heartbeats(
        self, runs: Collection[UUID], since: datetime, until: datetime
    ) -> dict[UUID, datetime]:
        """The time of the last heartbeat of each of these runs, at most `PAGE`, in that period;
        runs without one are left out."""
        resources = {f"{_RUN_RESOURCE}{id}": id for id in runs}
        only = EventFilter(
            event=EventNameFilter(name=[HEARTBEAT]),
            occurred=EventOccurredFilter(since=since, until=until),
            resource=EventResourceFilter(id=list(resources), distinct=True),
        )
        found: dict[UUID, datetime] = {}
        async for event in self._events(only):
            # The newest come first.
            found.setdefault(resources[event.resource.id], event.occurred)
        return found

    async def set_state(self, run: UUID, state: State[None]) -> None:
        """Sets the run's state, unless Prefect's rules refuse the transition."""
        async with request_errors(self._timeout):
            await self._client.set_flow_run_state(run, state)

    async def pool_types(self) -> dict[str, str]:
        """The type of each work pool, by its name."""
        async with request_errors(self._timeout):
            return {pool.name: pool.type for pool in await self._client.read_work_pools()}

    async def swept_until(self) -> datetime | None:
        """The time up to which the sweep of this bridge or an earlier one has checked everything;
        None if that is unknown."""
        async with request_errors(self._timeout):
            variable = await self._client.read_variable_by_name(_SWEPT_UNTIL)
        try:
            return datetime.fromisoformat(str(variable.value)) if variable else None
        except ValueError:
            return None

    async def store_swept_until(self, until: datetime) -> None:
        """Stores that time in a Prefect variable, for the next start of the bridge."""
        value = until.isoformat()
        async with request_errors(self._timeout):
            if await self._client.read_variable_by_name(_SWEPT_UNTIL):
                await self._client.update_variable(VariableUpdate(name=_SWEPT_UNTIL, value=value))
            else:
                await self._client.create_variable(VariableCreate(name=_SWEPT_UNTIL, value=value))


@asynccontextmanager
async def request_errors(seconds: float) -> AsyncIterator[None]:
    """Turns a request that fails or takes longer than `seconds` into an OutageError, and one that
    the server rejects into a RequestRejectedError."""
    try:
        # Without this timeout, the client would wait as long as a Retry-After header demands.
        async with asyncio.timeout(seconds):
            yield
    except httpx.HTTPStatusError as error:
        # The error's own text is not used: it has the server's response, which repeats the request.
        status = error.response.status_code
        kind = RequestRejectedError if status in _REJECTED else OutageError
        outage = kind(f"The Prefect server answers HTTP {status}.")
        outage.retry_after = _seconds(error.response.headers.get("Retry-After", ""))
        raise outage from None
    except ObjectNotFound as error:
        raise OutageError(
            "The Prefect server has no such deployment: deploy prefect.yaml."
        ) from error
    except (httpx.HTTPError, TimeoutError) as error:
        raise OutageError(f"The Prefect server does not answer: {type(error).__name__}.") from None
    except ValueError as error:
        raise OutageError("The server at PREFECT_API_URL is not a Prefect server.") from error


def _seconds(retry_after: str) -> float:
    """The value of a Retry-After header in seconds; 0 for a date or nothing."""
    return float(retry_after) if retry_after.isdecimal() else 0


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


# The pools of prefect.yaml.
POOLS = ("clipflow-orchestrate", "clipflow-media", "clipflow-prepare", "clipflow-marks")


async def check_forever(check: Callable[[], Awaitable[None]], interval: float) -> None:
    """Checks the server every `interval` seconds."""
    while True:
        try:
            await check()
        except TransientError as error:
            emit_metric(PREFECT_FAILED, f"not checked: {error}", reason=str(error))
        except Exception:
            logger.exception("not checked, by a defect in clipflow")
        await asyncio.sleep(interval)


async def check(client: PrefectClient, seconds: float) -> None:
    """Emits how long a run has been late, and how many pools have no worker that is online.

    Raises OutageError if the server does not answer.
    """
    late = await _late_seconds(client, seconds)
    idle = [pool for pool in POOLS if not await _has_worker(client, pool, seconds)]
    message = f"a run is late by {late} s; pools without a worker: {', '.join(idle) or 'none'}"
    emit_metric(PREFECT_CHECKED, message, late_seconds=late, pools_without_worker=len(idle))


# A run that is due for longer is waiting for a machine, and not only for a worker's next poll.
_WAITING = timedelta(seconds=10)


async def check_warm(client: PrefectClient, at_once: int, seconds: float) -> None:
    """Emits whether there are too few or too many warm machines, each for `at_once` runs.

    Raises OutageError if the server does not answer.
    """
    now = datetime.now(UTC)
    pool = pool_filter(warm.POOL)
    due = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=now - _WAITING),
    )
    active = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    taken = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=active)))
    oldest = FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC
    async with request_errors(seconds):
        waiting = await client.count_flow_runs(flow_run_filter=due, work_pool_filter=pool)
        busy = await client.count_flow_runs(flow_run_filter=taken, work_pool_filter=pool)
        first = await client.read_flow_runs(
            flow_run_filter=due, work_pool_filter=pool, sort=oldest, limit=1
        )
        workers = await client.read_workers_for_work_pool(warm.POOL)
    online = sum(worker.status == "ONLINE" for worker in workers)
    times = [run.next_scheduled_start_time for run in first if run.next_scheduled_start_time]
    emit_metric(
        WARM_CHECKED,
        f"{online} warm machines with {busy} runs; {waiting} runs wait",
        waiting=waiting,
        wait_seconds=round((now - times[0]).total_seconds()) if times else 0,
        idle=warm.idle_machines(online, busy + waiting, at_once),
    )


async def _late_seconds(client: PrefectClient, seconds: float) -> int:
    is_late = FlowRunFilterState(name=FlowRunFilterStateName(any_=["Late"]))
    async with request_errors(seconds):
        runs = await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=FLOWS)),
            flow_run_filter=FlowRunFilter(state=is_late),
            sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
            limit=1,
        )
    due = [run.next_scheduled_start_time for run in runs if run.next_scheduled_start_time]
    return round((datetime.now(UTC) - due[0]).total_seconds()) if due else 0


async def _has_worker(client: PrefectClient, pool: str, seconds: float) -> bool:
    """Whether a worker of the pool is online; False for a pool that does not exist."""
    async with request_errors(seconds):
        try:
            workers = await client.read_workers_for_work_pool(pool)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return False
            raise
    return any(worker.status == "ONLINE" for worker in workers)
