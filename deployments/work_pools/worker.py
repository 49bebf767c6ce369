"""`python -m deployments.work_pools.worker --pool NAME`: the ECS worker of a pool.

It is prefect-aws's worker, started by Prefect's command with the given options, with five changes:

- A run whose task ECS refuses for lack of capacity, by a quota or by throttling waits and is tried
  again. prefect-aws 0.7 tries for five seconds and then marks the run as Crashed.
- A run whose task was accepted, and then ended for lack of capacity before it started, does the
  same. prefect-aws marks it as Crashed.
- In a pool on Fargate Spot, tasks are started on demand once Spot has refused or lost all of them
  for some minutes, and those of a run that Spot has interrupted twice, unless that is refused.
- It sends two requests for a run instead of seven (`fewer_requests`).
- Events of a task that has not started yet are not replicated. An event that comes late, which
  queues allow, would otherwise make a run Pending that waits to be tried again, for ever.

The workers of all pools share one queue of ECS's events, so what a worker has to know of its tasks
comes from the states of their runs.
"""

import random
import sys
import time
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio.abc
from prefect import get_client
from prefect.cli import app
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Scheduled
from prefect.utilities.engine import propose_state
from prefect_aws.observers import ecs
from prefect_aws.workers.ecs_worker import ECSJobConfiguration, ECSWorkerResult
from prefect_aws.workers.ecs_worker import ECSWorker as PrefectECSWorker

from clipflow.telemetry.logging import LAUNCH_REFUSED, emit_metric
from deployments.work_pools.capacity import (
    LOST_BY_SPOT,
    SpotDrought,
    WorkerSettings,
    capacity_loss,
    refusal,
)
from deployments.work_pools.fewer_requests import FewerRequests
from tasks.retries import AWAITING_CAPACITY

_SPOT = "FARGATE_SPOT"
# A run that Spot has interrupted so often is started on demand, or it might never end.
_STARTS_ON_SPOT = 2


with warnings.catch_warnings():
    # It replaces prefect-aws's worker as the one of type `ecs`, on purpose.
    warnings.filterwarnings("ignore", message=".*matches existing registered type.*")

    class ECSWorker(FewerRequests, PrefectECSWorker):
        """prefect-aws's worker, which puts back runs that ECS refuses to start for now."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._settings = WorkerSettings()
            self._drought = SpotDrought(self._settings.spot_timeout)

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
            logger = self.get_flow_run_logger(flow_run)
            if flow_run.run_count >= _STARTS_ON_SPOT:
                logger.warning("Spot has interrupted it %s times", flow_run.run_count)
                try:
                    return await super().run(flow_run, on_demand(configuration), task_status)
                except Exception as error:
                    # The run that waits for it may hold what is left of that quota.
                    if refusal(error) is None:
                        raise
                    logger.warning("ECS refuses it on demand: %s", error)
            if await self._was_lost_by_spot(flow_run):
                self._drought.lost(time.monotonic())
            if not self._drought.should_ask(time.monotonic()):
                logger.warning("Spot loses the tasks that it accepts")
                return await super().run(flow_run, on_demand(configuration), task_status)
            try:
                result = await super().run(flow_run, configuration, task_status)
            except Exception as error:
                if refusal(error) is None or not self._drought.refused(time.monotonic()):
                    raise
                logger.warning("Spot refuses it: %s", error)
                return await super().run(flow_run, on_demand(configuration), task_status)
            self._drought.accepted()
            return result

        async def _was_lost_by_spot(self, flow_run: FlowRun) -> bool:
            """Whether the run waited because Spot had lost its task before the task started."""
            if flow_run.state_name != AWAITING_CAPACITY:
                return False
            states = await self.client.read_flow_run_states(flow_run.id)
            waits = [state for state in states if state.name == AWAITING_CAPACITY]
            last = max(waits, key=lambda state: state.timestamp)
            return LOST_BY_SPOT in (last.message or "")

        async def _put_back(self, flow_run: FlowRun, reason: str) -> None:
            message = await wait_for_capacity(self.client, flow_run.id, reason, self._settings)
            emit_metric(LAUNCH_REFUSED, message, pool=self._work_pool_name, reason=reason)
            self.get_flow_run_logger(flow_run).warning(message)


async def wait_for_capacity(
    client: PrefectClient, flow_run: UUID, reason: str, settings: WorkerSettings
) -> str:
    """Schedules the run again in some seconds; returns the message of its state."""
    # Random, because runs are often refused together.
    seconds = random.uniform(0.5, 1.5) * settings.capacity_wait
    message = f"ECS starts no task now; it is tried again in {seconds:.0f} s. {reason}"
    state: State[Any] = Scheduled(
        scheduled_time=datetime.now(UTC) + timedelta(seconds=seconds),
        name=AWAITING_CAPACITY,
        message=message,
    )
    await propose_state(client, state, flow_run_id=flow_run)
    return message


async def put_back_or_crash(event: dict[str, Any], tags: dict[str, str]) -> None:
    """Handles the end of a task: a run that lost its capacity before it started is put back.

    prefect-aws would mark it as Crashed, which uses one of the few attempts of its parent.
    """
    reason = capacity_loss(event["detail"])
    if reason:
        if event["detail"].get("capacityProviderName") == _SPOT:
            reason = LOST_BY_SPOT + reason
        async with get_client() as client:
            run = await client.read_flow_run(UUID(tags["prefect.io/flow-run-id"]))
            if run.state and run.state.is_pending():
                message = await wait_for_capacity(client, run.id, reason, WorkerSettings())
                emit_metric(LAUNCH_REFUSED, message, pool=run.work_pool_name or "", reason=reason)
                return
    await ecs.mark_runs_as_crashed(event, tags)


def observe_capacity() -> None:
    """Lets the observer of prefect-aws call `put_back_or_crash`, and replicate no event of a task
    that has not started. Raises ValueError if one of its handlers does not exist any more."""
    handlers = ecs.ecs_observer.event_handlers["task"]
    names = [handler for handler, _ in handlers]
    crashing = names.index(ecs.mark_runs_as_crashed)
    replicating = names.index(ecs.replicate_ecs_event)
    handlers[crashing] = handlers[crashing]._replace(handler=put_back_or_crash)
    later = ecs.LastStatusFilter("RUNNING", "STOPPED")
    filters: ecs.EventHandlerFilters = {**handlers[replicating].filters, "last_status": later}
    handlers[replicating] = handlers[replicating]._replace(filters=filters)


def is_on_spot(configuration: ECSJobConfiguration) -> bool:
    return configuration.task_run_request.get("launchType") == _SPOT


def on_demand(configuration: ECSJobConfiguration) -> ECSJobConfiguration:
    """The same on Fargate on demand. The task definition of a Spot pool serves both."""
    request = {**configuration.task_run_request, "launchType": "FARGATE"}
    return configuration.model_copy(update={"task_run_request": request})


def main() -> None:
    """Runs `prefect worker start` with this worker and the options of the command line."""
    observe_capacity()
    sys.argv = ["prefect", "worker", "start", "--type", PrefectECSWorker.type, *sys.argv[1:]]
    app()


if __name__ == "__main__":
    main()
