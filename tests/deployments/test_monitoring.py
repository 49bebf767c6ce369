"""The bridge's checks of the Prefect server: late runs, pools without a worker, and outages."""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled

from clipflow.domain.errors import TransientError
from clipflow.telemetry.logging import PREFECT_CHECKED
from deployments.bridge.prefect_server import POOLS, check
from tasks.flow_runs import GENERATE_CLIP
from tests.lost_runs import deployed
from tests.programs import PrefectServer, free_port

pytestmark = pytest.mark.slow


def log_fields_of_check(caplog: pytest.LogCaptureFixture, url: str) -> dict[str, Any]:
    """Check the server at `url` once, and return the fields of the log line of this check."""

    async def once() -> None:
        async with get_client() as client:
            await check(client, 10)

    caplog.set_level(logging.INFO, "clipflow.measures")
    with temporary_settings({PREFECT_API_URL: url}):
        asyncio.run(once())
    fields: dict[str, Any] = caplog.records[-1].__dict__["fields"]
    assert fields["event"] == PREFECT_CHECKED.event
    return fields


def test_late_runs_and_pools_without_a_worker_are_reported(
    prefect_server: PrefectServer, caplog: pytest.LogCaptureFixture
) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        with get_client(sync_client=True) as client:
            before = log_fields_of_check(caplog, prefect_server.url)
            for pool in POOLS:
                # Other tests of this server may have left a pool of this name and another type.
                with suppress(ObjectNotFound):
                    client.delete_work_pool(pool)
                client.create_work_pool(WorkPoolCreate(name=pool, type="process"), overwrite=True)
            with_workers = POOLS[:1]
            for pool in with_workers:
                address = f"{prefect_server.url}/work_pools/{pool}/workers/heartbeat"
                httpx.post(address, json={"name": "one"}).raise_for_status()
            run = client.create_flow_run_from_deployment(deployed(client, GENERATE_CLIP))
            due = datetime.now(UTC) - timedelta(minutes=40)
            late: State[None] = Scheduled(scheduled_time=due, name="Late")
            client.set_flow_run_state(run.id, late, force=True)
        found = log_fields_of_check(caplog, prefect_server.url)
        with get_client(sync_client=True) as client:
            client.delete_flow_run(run.id)
            # Other tests of this server create pools of these names and another type.
            for pool in POOLS:
                client.delete_work_pool(pool)
    assert before["pools_without_worker"] == len(POOLS)
    assert found["pools_without_worker"] == len(POOLS) - len(with_workers)
    assert 2400 <= found["late_seconds"] < 2460


def test_a_server_that_does_not_answer_is_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TransientError, match="does not answer"):
        log_fields_of_check(caplog, f"http://127.0.0.1:{free_port()}/api")
