"""Creates the local stack's resources in AWS and Prefect, and reschedules interrupted runs.

Importing this module imports Prefect, which takes as long as starting everything else, so the
supervisor imports it while the Prefect server starts.
"""

import asyncio
import os
import shlex
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import AwaitingRetry, Cancelled
from prefect.workers.process import ProcessWorker

from deployments.automations import remove_retired_automations
from deployments.cloudformation.stacks import NotDeployedError, Stacks
from deployments.cloudformation.templates import INFRA, Template
from deployments.local_stack import processes, stack_settings
from deployments.local_stack.run_client import client_command
from deployments.local_stack.stack_settings import STARTERS, WORK_POOLS, StackError
from deployments.work_pools.pools import pool_filter, preserved_settings

TEMPLATE = INFRA / "data.yaml"
NAMES = {
    "BucketName": stack_settings.BUCKET,
    "TableName": stack_settings.TABLE,
    "QueueName": stack_settings.QUEUE,
    "DeadLetterQueueName": stack_settings.DEAD_LETTER_QUEUE,
}
DESCRIPTION = "Runs each flow run in a process on this machine."
CORES = os.cpu_count() or 1
# Work pool, work queue, priority, and the limit of concurrent flow runs. Runs that record failures
# or start clips never wait behind those that make clips. Each queue has a limit, because a run is a
# Python process and fifty of them at once do not start sooner. More than two runs that start clips
# often start the same one. A tenant's requests beyond its share wait in `bulk`, behind all those in
# `media`.
WORK_QUEUES = (
    ("clipflow-marks", "marks", 1, 2),
    ("clipflow-orchestrate", STARTERS, 2, 2),
    ("clipflow-orchestrate", "media", 3, CORES),
    ("clipflow-orchestrate", "bulk", 4, CORES),
    # Used only with CLIPFLOW_FAN_OUT=remote.
    ("clipflow-media", "media", 1, CORES),
    ("clipflow-prepare", "media", 1, 1),
)
# A process that cannot read its flow run from the server ends within this many seconds. Later it
# waits for the server (`tasks/outages.py`).
ORPHANED_RUN_SECONDS = 5
_RUN_ID_VARIABLE = b"PREFECT__FLOW_RUN_ID="


def deploy_data(endpoint_url: str, template: Path = TEMPLATE) -> dict[str, str]:
    """Creates or updates the data stack (`infra/data.yaml`); returns its outputs.

    Raises StackError with CloudFormation's reasons if it rejects the stack or rolls it back.
    """
    client = boto3.client(
        "cloudformation",
        endpoint_url=endpoint_url,
        config=Config(connect_timeout=2, read_timeout=30, retries={"total_max_attempts": 2}),
    )
    stacks = Stacks(client)
    data = Template.parse(TEMPLATE.stem, template.read_text())
    try:
        stacks.execute(stacks.prepare(data, NAMES))
        return stacks.outputs(data.stack)
    except (NotDeployedError, BotoCoreError, ClientError) as error:
        raise StackError(f"{template} was not deployed: {error}") from error


async def create_work_pools() -> None:
    """Creates or updates the process work pools and their queues."""
    async with get_client() as client:
        for name in WORK_POOLS:
            await create_work_pool(client, name)
        for pool, queue, priority, limit in WORK_QUEUES:
            try:
                await client.create_work_queue(
                    name=queue, work_pool_name=pool, priority=priority, concurrency_limit=limit
                )
            except ObjectAlreadyExists:
                existing = await client.read_work_queue_by_name(queue, work_pool_name=pool)
                await client.update_work_queue(
                    existing.id, concurrency_limit=limit, priority=priority
                )
        await remove_retired_automations(client)


async def create_work_pool(client: PrefectClient, name: str) -> None:
    """Creates or updates one process work pool."""
    template = ProcessWorker.get_default_base_job_template()
    # Without a command, each run would first start a second Python process to prepare a workspace,
    # which takes 1.6 s. The flows' code is installed, so there is nothing to prepare.
    engine = client_command([sys.executable, "-m", "prefect.engine"])
    template["variables"]["properties"]["command"]["default"] = shlex.join(engine)
    found = await client.read_work_pools(work_pool_filter=pool_filter(name))
    pool = WorkPoolCreate(
        name=name,
        type=ProcessWorker.type,
        description=DESCRIPTION,
        base_job_template=template,
        **preserved_settings(found),
    )
    await client.create_work_pool(pool, overwrite=True)


async def wait_for_worker(since: datetime) -> None:
    """Returns once the worker has sent a heartbeat to every pool after `since`."""
    async with get_client() as client:
        waiting = list(WORK_POOLS)
        while waiting:
            workers = await client.read_workers_for_work_pool(waiting[0])
            if any(w.last_heartbeat_time and w.last_heartbeat_time >= since for w in workers):
                waiting.pop(0)
            else:
                await asyncio.sleep(0.2)


async def reschedule_unfinished(prefect_url: str) -> int:
    """Reschedules the runs of a worker that has ended; returns their number.

    Waits until the Prefect server answers.
    """
    while True:
        await processes.wait_until_healthy(f"{prefect_url}/api/health")
        with suppress(httpx.HTTPError):
            return await _reschedule()
        await asyncio.sleep(1)


async def reschedule_lost(prefect_url: str, since: datetime) -> int:
    """Reschedules the runs whose process ended while the server was unreachable.

    A worker that cannot reach the server does not start the process of a run, and a process that
    cannot read its run ends.

    Args:
        since: when the server became unreachable.

    Returns how many runs.
    """
    await processes.wait_until_healthy(f"{prefect_url}/api/health")
    await asyncio.sleep(ORPHANED_RUN_SECONDS)
    alive = _flow_runs_of(processes.descendants(os.getpid()))
    # If the server has died again, the supervisor calls this once more after its next start.
    with suppress(httpx.HTTPError):
        return await _reschedule(since, alive)
    return 0


async def _reschedule(before: datetime | None = None, exclude: Collection[str] = ()) -> int:
    """Schedules unfinished runs again; returns their number.

    Prefect leaves a run without a worker in the state Running. Without arguments, it reschedules
    all unfinished runs, so there must be no worker and no flow run process. With them, it
    reschedules only runs whose state is older than `before` and whose ids are not in `exclude`.
    """
    unfinished = FlowRunFilterStateType(
        any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    )
    async with get_client() as client:
        runs = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=unfinished)),
            work_pool_filter=pool_filter(*WORK_POOLS),
        )
        lost = [run for run in runs if str(run.id) not in exclude and _is_older(run, before)]
        for run in lost:
            await client.set_flow_run_state(run.id, _next_state(run), force=True)
    return len(lost)


def _is_older(run: FlowRun, before: datetime | None) -> bool:
    return before is None or (run.state is not None and run.state.timestamp < before)


def _next_state(run: FlowRun) -> State[object]:
    if run.state and run.state.is_cancelling():
        return Cancelled(message="The worker ended while the run was being cancelled.")
    return AwaitingRetry(message="The worker ended; the run starts again with the next one.")


def _flow_runs_of(pids: Iterable[int]) -> set[str]:
    """The ids of the flow runs that these processes execute; Linux only."""
    found = set()
    for pid in pids:
        with suppress(OSError):  # The process has ended meanwhile.
            for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                if variable.startswith(_RUN_ID_VARIABLE):
                    found.add(variable.removeprefix(_RUN_ID_VARIABLE).decode())
    return found
