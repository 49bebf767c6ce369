"""What a worker reads of deployments again and again, and what it must not mix up."""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from prefect import get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.states import Scheduled
from prefect.workers.process import ProcessWorker

from deployments.work_pools.fewer_requests import DEPLOYMENT_SECONDS, FewerRequests
from tests.programs import PrefectServer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]

# Adds a line to the file with the variables of the run.
PRINT = "import json, os; print(json.dumps([os.environ.get('A'), os.environ.get('B')]))"


class Worker(FewerRequests, ProcessWorker):
    """A process worker that sends few requests, as those of ECS pools and warm machines do."""

    now = 0.0

    def clock(self) -> float:
        return self.now

    @classmethod
    def __dispatch_key__(cls) -> str:
        return "few"


class Pool:
    """A process pool with one deployment, whose runs write their variables to a file."""

    def __init__(self, folder: Path) -> None:
        self.name, self._written = f"pool-{uuid4().hex}", folder / "written"
        self._command = f'sh -c "{sys.executable} -c \\"{PRINT}\\" >> {self._written}"'
        with get_client(sync_client=True) as client:
            client.create_work_pool(WorkPoolCreate(name=self.name, type="process"))
            self._deployment: UUID = client.create_deployment(
                client.create_flow_from_name("any"),
                self.name,
                entrypoint="any.py:any",
                work_pool_name=self.name,
                job_variables=self._variables("old"),
            )

    def _variables(self, value: str) -> dict[str, Any]:
        return {"env": {"A": value}, "command": self._command}

    def change(self) -> None:
        """Change the deployment, as `prefect deploy` does."""
        with get_client(sync_client=True) as client:
            update = DeploymentUpdate(job_variables=self._variables("new"))
            client.update_deployment(self._deployment, update)

    def schedule(self, **env: str) -> None:
        with get_client(sync_client=True) as client:
            client.create_flow_run_from_deployment(
                self._deployment, state=Scheduled(), job_variables={"env": env}
            )

    def written(self) -> Counter[tuple[str | None, ...]]:
        """The variables A and B of each run that was started."""
        return Counter(tuple(json.loads(line)) for line in self._written.read_text().splitlines())


async def submitted(worker: Worker, count: int) -> None:
    """Start the scheduled runs of the pool, and wait until their processes have ended."""
    found = 0
    with anyio.fail_after(60):
        while found < count:
            found += len(await worker.get_and_submit_flow_runs())
            await anyio.sleep(0.1)
        while worker._submitting_flow_run_ids or worker.limiter.borrowed_tokens:
            await anyio.sleep(0.1)


def test_runs_share_what_is_read_and_keep_their_own_variables(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    asyncio.run(_check(prefect_server, Pool(tmp_path)))


async def _check(prefect_server: PrefectServer, pool: Pool) -> None:
    for env in ({"B": "1"}, {}, {"A": "own"}, {}):
        pool.schedule(**env)
    worker = Worker(work_pool_name=pool.name, limit=9)
    async with worker:
        before = len(prefect_server.requests())
        await submitted(worker, 4)
        reads = Counter(prefect_server.requests()[before:])
        assert reads["GET /deployments/{id}"] == reads["GET /flows/{id}"] == 1
        assert pool.written() == {("old", "1"): 1, ("old", None): 2, ("own", None): 1}

        # A changed deployment is noticed when what is known of it is too old.
        pool.change()
        worker.now += DEPLOYMENT_SECONDS + 1
        pool.schedule()
        await submitted(worker, 1)
        assert pool.written()["new", None] == 1
