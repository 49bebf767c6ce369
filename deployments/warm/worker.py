"""Prefect's process worker of the warm pool, which returns its runs to the pool when it ends."""

import asyncio
import os
import shlex
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import anyio.abc
import httpx
from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import AwaitingRetry, Cancelled
from prefect.workers.process import ProcessJobConfiguration, ProcessWorkerResult

from deployments.local_stack.run_client import client_command
from deployments.local_stack.worker import Activity, ActivityWorker, watch_runs
from deployments.work_pools.warm import COMMAND, POOL, WarmSettings
from tasks.outages import outlast_outages

# Touched again and again. The container's health check reads its age.
ALIVE_FILE = "CLIPFLOW_WARM_ALIVE_FILE"
_SECONDS_TO_TOUCH = 10.0
# A run that was just taken is counted as one after this time.
_SECONDS_TO_COUNT = 2.0


class WarmWorker(ActivityWorker):
    """A process worker that can stop to take runs, and knows which runs it has.

    Attributes:
        unfinished: the ids of the runs whose process has not ended.
    """

    def __init__(self, activity: Activity, settings: WarmSettings) -> None:
        super().__init__(
            activity,
            name=f"warm-{os.uname().nodename}",
            work_pool_name=POOL,
            create_pool_if_not_found=False,
            limit=settings.runs,
        )
        self.unfinished = set[UUID]()
        self._is_draining = False

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        return [] if self._is_draining else await super().get_and_submit_flow_runs()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: "anyio.abc.TaskStatus[int] | None" = None,
    ) -> ProcessWorkerResult:
        self.unfinished.add(flow_run.id)
        configuration.command = shlex.join(client_command(shlex.split(COMMAND)))
        try:
            result = await super().run(flow_run, configuration, task_status)
        except Exception:
            self.unfinished.discard(flow_run.id)
            raise
        # Not if it is cancelled, which is how the worker ends: then the run is unfinished.
        self.unfinished.discard(flow_run.id)
        return result

    async def drain(self, seconds: float) -> None:
        """Takes no more runs, and waits until all have ended, for at most some seconds."""
        self._is_draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.sleep(_SECONDS_TO_COUNT)
                while self.limiter.borrowed_tokens:
                    await asyncio.sleep(0.1)


async def serve_until(stop: asyncio.Event) -> None:
    """Serves the pool until `stop` is set, and returns the runs that are then unfinished."""
    outlast_outages()
    settings, activity = WarmSettings(), Activity()
    worker = WarmWorker(activity, settings)
    watching = asyncio.create_task(watch_runs({POOL: activity}))
    working = asyncio.create_task(worker.start())
    stopping = asyncio.create_task(stop.wait())
    living = asyncio.create_task(touch(Path(os.environ.get(ALIVE_FILE, os.devnull))))
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        await worker.drain(settings.drain_seconds)
    tasks = (working, watching, stopping, living)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    await put_back(worker.unfinished)
    if isinstance(ended[0], Exception):
        raise ended[0]


async def touch(file: Path) -> None:
    """Touches the file until it is cancelled.

    Not at each poll, because a poll takes as long as Prefect is away, and a machine that is
    replaced for that would lose its runs.
    """
    while True:
        file.touch()  # noqa: ASYNC240 - it takes microseconds
        await asyncio.sleep(_SECONDS_TO_TOUCH)


async def put_back(runs: Collection[UUID]) -> None:
    """Schedules runs again whose processes this machine has ended.

    If Prefect does not answer, they are found later by their missing heartbeats, as after the loss
    of a machine.
    """
    async with get_client() as client:
        for id in runs:
            try:
                run = await client.read_flow_run(id)
                if run.state and not run.state.is_final():
                    await client.set_flow_run_state(id, _next_state(run.state), force=True)
                    print(f"{run.name} was returned to the pool.", flush=True)
            except httpx.HTTPError as error:
                print(f"Flow run {id} could not be returned to the pool: {error}", flush=True)


def _next_state(state: State[object]) -> State[object]:
    if state.is_cancelling():
        return Cancelled(message="The machine was stopped while the run was being cancelled.")
    return AwaitingRetry(message="Its machine was stopped; the run continues on another one.")
