"""Reads the state of a Prefect server (pools, workers, runs, logs), and starts runs of shorts."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    LogFilter,
    LogFilterFlowRunId,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.utilities.urls import url_for
from pydantic import BaseModel

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import Identifier

GENERATE_SHORTS = "generate-shorts/clipflow"
# The largest page of the Prefect API.
_PAGE = 200
_WAITING = [StateType.SCHEDULED, StateType.PENDING]
_DAY = timedelta(days=1)


def pools(client: SyncPrefectClient) -> Iterator[tuple[str, str]]:
    """Each work pool with its status, its workers, and the number of runs that wait for one."""
    for pool in client.read_work_pools():
        workers = client.read_workers_for_work_pool(pool.name)
        online = sum(worker.status == "ONLINE" for worker in workers)
        only = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool.name]))
        waiting = client.count_flow_runs(flow_run_filter=_in(_WAITING), work_pool_filter=only)
        state = pool.status.value.lower() if pool.status else "unknown"
        yield pool.name, f"{pool.type}, {state}, {online} workers online, {waiting} runs waiting"


def states(client: SyncPrefectClient) -> dict[str, int]:
    """The number of runs by state, of unfinished runs and of runs started in the last day."""
    since = FlowRunFilterStartTime(after_=datetime.now(UTC) - _DAY)
    counted = {}
    for state in StateType:
        only = _in([state])
        if state.name in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            only.start_time = since
        if count := client.count_flow_runs(flow_run_filter=only):
            counted[state.value.lower()] = count
    return counted


def latest(client: SyncPrefectClient, limit: int) -> Iterator[str]:
    """The last runs, newest first, each with its start, duration, state and flow."""
    flows: dict[UUID, str] = {}
    newest = FlowRunSort.EXPECTED_START_TIME_DESC
    for run in client.read_flow_runs(limit=min(limit, _PAGE), sort=newest):
        if run.flow_id not in flows:
            flows[run.flow_id] = client.read_flow(run.flow_id).name
        yield line(run, flows[run.flow_id])


def line(run: FlowRun, flow: str) -> str:
    """A run as one line: its start, duration, state, flow, name, id, and the state's message."""
    began = run.start_time or run.expected_start_time
    at = f"{began:%Y-%m-%d %H:%M:%S}" if began else "-"
    seconds = f"{run.total_run_time.total_seconds():.0f} s"
    name = run.state_name or "-"
    message = (run.state.message or "").split("\n")[0][:80] if run.state else ""
    return f"{at}  {seconds:>7}  {name:<18}  {flow}/{run.name}  {run.id}  {message}".rstrip()


class ShortsParameters(BaseModel):
    """The parameters of `generate-shorts`."""

    user_id: Identifier
    video_id: Identifier
    force: bool


def start_shorts(client: SyncPrefectClient, parameters: ShortsParameters) -> tuple[str, str]:
    """Start `generate-shorts`; returns the run's id and its address in the UI.

    Raises ObjectNotFound if it is not deployed.
    """
    deployment = client.read_deployment_by_name(GENERATE_SHORTS)
    run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters.model_dump())
    return str(run.id), url_for(run) or ""


def run_with_children(client: SyncPrefectClient, name_or_id: str) -> list[FlowRun]:
    """A run, found by its name or its id, and the child runs that it has started.

    Raises InvalidInputError if there is no such run.
    """
    run = _find(client, name_or_id)
    below = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
    runs, offset = [run], 0
    while page := client.read_flow_runs(flow_run_filter=below, limit=_PAGE, offset=offset):
        runs += page
        offset += len(page)
    return runs


def logs(client: SyncPrefectClient, runs: Collection[FlowRun]) -> Iterator[str]:
    """The log lines of the runs that Prefect has stored, by time."""
    only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id for run in runs]))
    offset = 0
    while page := client.read_logs(only, limit=_PAGE, offset=offset):
        yield from (f"{log.timestamp:%H:%M:%S}  {log.name}  {log.message}" for log in page)
        offset += len(page)


def log_streams(run: FlowRun) -> list[str]:
    """The possible names of the CloudWatch log stream of the run's last ECS task."""
    task = (run.infrastructure_pid or "").rpartition("/")[2]
    pool = (run.work_pool_name or "").removeprefix("clipflow-")
    # The pool of GPU instances has the same name as the pool that it replaces.
    return [f"{kind}/prefect/{task}" for kind in (pool, f"{pool}-gpu")] if task else []


def _find(client: SyncPrefectClient, name_or_id: str) -> FlowRun:
    try:
        only = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(name_or_id)]))
    except ValueError:
        only = FlowRunFilter(name=FlowRunFilterName(any_=[name_or_id]))
    found = client.read_flow_runs(
        flow_run_filter=only, limit=1, sort=FlowRunSort.EXPECTED_START_TIME_DESC
    )
    if not found:
        raise InvalidInputError(
            f"There is no run {name_or_id}.", "`make runs` lists the last ones."
        )
    return found[0]


def _in(states: list[StateType]) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)))
