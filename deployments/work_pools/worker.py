"""`python -m deployments.work_pools.worker --pool NAME`: the ECS worker of a pool.

It is prefect-aws's worker, started by Prefect's command with the given options, with two changes:

- A run whose task ECS refuses for lack of capacity, by a quota or by throttling waits and is tried
  again. prefect-aws 0.7 tries for five seconds and then marks the run as Crashed.
- In a pool on Fargate Spot, tasks are started on demand once Spot has refused all of them for some
  minutes.
"""

import random
import sys
import time
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio.abc
from prefect.cli import app
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Scheduled
from prefect.utilities.engine import propose_state
from prefect_aws.workers.ecs_worker import ECSJobConfiguration, ECSWorkerResult
from prefect_aws.workers.ecs_worker import ECSWorker as PrefectECSWorker

from clipflow.telemetry.logging import LAUNCH_REFUSED, emit_metric
from deployments.work_pools.capacity import WorkerSettings, refusal
from tasks.retries import AWAITING_CAPACITY

_SPOT = "FARGATE_SPOT"

with warnings.catch_warnings():
    # It replaces prefect-aws's worker as the one of type `ecs`, on purpose.
    warnings.filterwarnings("ignore", message=".*matches existing registered type.*")

    class ECSWorker(PrefectECSWorker):
        """prefect-aws's worker, which puts back runs that ECS refuses to start for now."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._settings = WorkerSettings()
            self._spot_refused_since: float | None = None

        async def run(
            self,
            flow_run: FlowRun,
            configuration: ECSJobConfiguration,
            task_status: anyio.abc.TaskStatus[Any] | None = None,
        ) -> ECSWorkerResult:
            """Starts the run's task, or puts the run back to wait."""
            try:
                return await self._start(flow_run, configuration, task_status)
            except Exception as error:
                reason = refusal(error)
                if reason is None:
                    raise
                await self._put_back(flow_run, reason)
                if task_status:
                    # An exception as its value says that nothing was started.
                    task_status.started(error)
                return ECSWorkerResult(identifier="", status_code=0)

        async def _start(
            self,
            flow_run: FlowRun,
            configuration: ECSJobConfiguration,
            task_status: anyio.abc.TaskStatus[Any] | None,
        ) -> ECSWorkerResult:
            if not is_on_spot(configuration):
                return await super().run(flow_run, configuration, task_status)
            try:
                result = await super().run(flow_run, configuration, task_status)
            except Exception as error:
                if refusal(error) is None or not self._is_drought():
                    raise
                self.get_flow_run_logger(flow_run).warning("Spot refuses it: %s", error)
                return await super().run(flow_run, on_demand(configuration), task_status)
            self._spot_refused_since = None
            return result

        def _is_drought(self) -> bool:
            """Whether Spot has refused every task for long enough. Called at each refusal."""
            now = time.monotonic()
            self._spot_refused_since = self._spot_refused_since or now
            return now - self._spot_refused_since >= self._settings.spot_patience

        async def _put_back(self, flow_run: FlowRun, reason: str) -> None:
            # Random, because runs are often refused together.
            seconds = random.uniform(0.5, 1.5) * self._settings.capacity_wait
            message = f"ECS starts no task now; it is tried again in {seconds:.0f} s. {reason}"
            state: State[Any] = Scheduled(
                scheduled_time=datetime.now(UTC) + timedelta(seconds=seconds),
                name=AWAITING_CAPACITY,
                message=message,
            )
            emit_metric(LAUNCH_REFUSED, message, pool=self._work_pool_name, reason=reason)
            self.get_flow_run_logger(flow_run).warning(message)
            await propose_state(self.client, state, flow_run_id=flow_run.id)


def is_on_spot(configuration: ECSJobConfiguration) -> bool:
    return configuration.task_run_request.get("launchType") == _SPOT


def on_demand(configuration: ECSJobConfiguration) -> ECSJobConfiguration:
    """The same on Fargate on demand. The task definition of a Spot pool serves both."""
    request = {**configuration.task_run_request, "launchType": "FARGATE"}
    return configuration.model_copy(update={"task_run_request": request})


def main() -> None:
    """Runs `prefect worker start` with this worker and the options of the command line."""
    sys.argv = ["prefect", "worker", "start", "--type", PrefectECSWorker.type, *sys.argv[1:]]
    app()


if __name__ == "__main__":
    main()
