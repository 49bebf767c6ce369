"""What the local stack sets up in the Prefect server."""

import asyncio
import os
import shlex
import sys
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

CORES = os.cpu_count() or 1
# Work queue: (priority, flow runs at once). Starting clips never waits behind making them; it is
# limited as well, since each run is a Python process, and fifty of them at once start none sooner.
WORK_QUEUES = {"orchestrate": (1, max(4, 2 * CORES)), "media": (2, CORES)}


async def create(name: str) -> None:
    """The process work pool and its queues, as they should be now, whatever was there."""
    template = ProcessWorker.get_default_base_job_template()
    # Without a command each run starts a second Python first, to prepare a workspace of its own:
    # 1.6 s more from event to flow code. This code is installed; there is nothing to prepare.
    engine = shlex.join([sys.executable, "-m", "prefect.engine"])
    template["variables"]["properties"]["command"]["default"] = engine
    pool = WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template)
    async with get_client() as client:
        await client.create_work_pool(pool, overwrite=True)
        for queue, (priority, limit) in WORK_QUEUES.items():
            try:
                await client.create_work_queue(
                    name=queue, work_pool_name=name, priority=priority, concurrency_limit=limit
                )
            except ObjectAlreadyExists:
                there = await client.read_work_queue_by_name(queue, work_pool_name=name)
                await client.update_work_queue(there.id, concurrency_limit=limit)


async def take_back(pool: str) -> int:
    """Schedules again what a worker that is no more was running; answers how many runs.

    Prefect leaves such a run Running. Only while the pool has no worker and no flow run process.
    """
    unfinished = FlowRunFilterStateType(
        any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    )
    async with get_client() as client:
        runs = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=unfinished)),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        )
        for run in runs:
            await client.set_flow_run_state(run.id, _after_the_end(run), force=True)
    return len(runs)


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
