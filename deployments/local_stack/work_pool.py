"""What the local stack sets up in the Prefect server."""

import asyncio
import os
import shlex
import sys
from collections.abc import Collection
from datetime import datetime

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import AwaitingRetry, Cancelled
from prefect.workers.process import ProcessWorker

from deployments.automations import put_automations
from deployments.kept import called, kept

DESCRIPTION = "Runs everything on this machine, a process for each run."
CORES = os.cpu_count() or 1
# Work queue: (priority, flow runs at once). Recording an end and starting clips never wait behind
# making them; each is limited: a run is a Python process, and fifty at once start none sooner.
# What a tenant asks for beyond its share waits in `bulk`, behind everybody's `media`.
WORK_QUEUES = {
    "marks": (1, 2),
    "orchestrate": (2, max(4, 2 * CORES)),
    "media": (3, CORES),
    "bulk": (4, CORES),
}


async def create(name: str) -> None:
    """The process work pool, its queues and the automations, as they should be now, whatever was
    there."""
    template = ProcessWorker.get_default_base_job_template()
    # Without a command each run starts a second Python first, to prepare a workspace of its own:
    # 1.6 s more from event to flow code. This code is installed; there is nothing to prepare.
    engine = shlex.join([sys.executable, "-m", "prefect.engine"])
    template["variables"]["properties"]["command"]["default"] = engine
    async with get_client() as client:
        found = await client.read_work_pools(work_pool_filter=called(name))
        pool = WorkPoolCreate(
            name=name,
            type=ProcessWorker.type,
            description=DESCRIPTION,
            base_job_template=template,
            **kept(found),
        )
        await client.create_work_pool(pool, overwrite=True)
        for queue, (priority, limit) in WORK_QUEUES.items():
            try:
                await client.create_work_queue(
                    name=queue, work_pool_name=name, priority=priority, concurrency_limit=limit
                )
            except ObjectAlreadyExists:
                there = await client.read_work_queue_by_name(queue, work_pool_name=name)
                await client.update_work_queue(there.id, concurrency_limit=limit, priority=priority)
        await put_automations(client)


async def take_back(pool: str, before: datetime | None = None, but: Collection[str] = ()) -> int:
    """Schedules again what a worker that is no more was running; answers how many runs.

    Prefect leaves such a run Running. Only while the pool has no worker and no flow run process;
    else only what has been as it is since `before`, without those in `but`, by their ids.
    """
    unfinished = FlowRunFilterStateType(
        any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    )
    async with get_client() as client:
        runs = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=unfinished)),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        )
        lost = [run for run in runs if str(run.id) not in but and _is_older(run, before)]
        for run in lost:
            await client.set_flow_run_state(run.id, _after_the_end(run), force=True)
    return len(lost)


def _is_older(run: FlowRun, before: datetime | None) -> bool:
    return before is None or (run.state is not None and run.state.timestamp < before)


def _after_the_end(run: FlowRun) -> State[object]:
    if run.state and run.state.is_cancelling():
        return Cancelled(message="The worker ended while the run was being cancelled.")
    return AwaitingRetry(message="The worker ended; the run starts again with the next one.")


async def polled(pool: str, since: datetime) -> None:
    """Returns once a worker of the pool has reported."""
    async with get_client() as client:
        while True:
            workers = await client.read_workers_for_work_pool(pool)
            if any(w.last_heartbeat_time and w.last_heartbeat_time >= since for w in workers):
                return
            await asyncio.sleep(0.2)
