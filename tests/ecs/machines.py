"""Functions that start, observe and pause runs on the machines of the simulated cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from clipflow.media import ffmpeg
from clipflow.storage.objects import ObjectStore
from tasks.retries import AWAITING_CAPACITY
from tests.ecs.ecs_service import EcsService
from tests.ecs.ecs_task import FLOW_RUN_ID, Task
from tests.programs import eventually


@dataclass
class Machines:
    """Access to the services of the account and to Prefect."""

    ecs: EcsService
    objects: ObjectStore
    held: Path

    def start(self, deployment: str, **parameters: Any) -> UUID:
        run: Any = run_deployment(deployment, parameters=parameters, timeout=0, as_subflow=False)
        return UUID(str(run.id))

    def run(self, run_id: UUID | str) -> FlowRun:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(UUID(str(run_id)))

    def cancel(self, run_id: UUID) -> None:
        """Cancel a run as the UI does."""
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run_id, Cancelling())

    def state(self, run_id: UUID) -> str:
        state = self.run(run_id).state
        return str(state.name) if state else ""

    def finished(self, run_id: UUID, seconds: float = 240) -> FlowRun:
        """Wait until the run and all tasks of the cluster have ended, and return the run."""
        eventually(lambda: (state := self.run(run_id).state) and state.is_final(), seconds)
        eventually(lambda: not self.ecs.running(), 60)
        return self.run(run_id)

    def waiting_for_capacity(self, flow: str) -> int:
        """How many runs of the flow wait because ECS refused to start their tasks."""
        only = FlowRunFilter(
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[AWAITING_CAPACITY]))
        )
        with get_client(sync_client=True) as client:
            flows = FlowFilter(name=FlowFilterName(any_=[flow]))
            return client.count_flow_runs(flow_run_filter=only, flow_filter=flows)

    def run_of(self, task: Task) -> FlowRun:
        return self.run(task.tags[FLOW_RUN_ID])

    def state_of(self, task: Task) -> str:
        return self.state(UUID(task.tags[FLOW_RUN_ID]))

    @contextmanager
    def holding_ffmpeg(self) -> Iterator[None]:
        """Pause every ffmpeg of all machines within the context."""
        self.held.touch()
        try:
            yield
        finally:
            self.held.unlink(missing_ok=True)

    def at_work(self, flow: str, count: int) -> list[Task]:
        """Wait until so many runs of the flow are running, and return its tasks."""

        def working() -> list[Task]:
            return [task for task in self.ecs.running(flow) if self.state_of(task) == "Running"]

        eventually(lambda: len(working()) == count, 120)
        return working()


def held_ffmpeg(path: Path, held: Path) -> Path:
    """An ffmpeg that waits as long as the file `held` exists."""
    wait = f"while [ -e '{held}' ]; do sleep 0.2; done"
    path.write_text(f"#!/bin/sh\n{wait}\nexec '{ffmpeg.executable()}' \"$@\"\n")
    path.chmod(0o755)
    return path
