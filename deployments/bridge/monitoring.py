"""Checks of the Prefect server, whose results are metrics: late runs, pools without a worker.

CloudWatch's alarms (`infra/alarms.yaml`) read them, since a server that is gone reports nothing.
"""

import asyncio
import logging
from datetime import UTC, datetime

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.sorting import FlowRunSort

from clipflow.domain.errors import TransientError
from clipflow.telemetry.logging import PREFECT_CHECKED, PREFECT_FAILED, emit_metric
from deployments.automations import FLOWS
from deployments.bridge.prefect_server import request_errors

logger = logging.getLogger(__name__)

# The pools of prefect.yaml.
POOLS = ("clipflow-orchestrate", "clipflow-media", "clipflow-prepare", "clipflow-marks")


async def check_forever(client: PrefectClient, seconds: float, interval: float) -> None:
    """Checks the server every `interval` seconds. One request may take `seconds`."""
    while True:
        try:
            await check(client, seconds)
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
