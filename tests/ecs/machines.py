"""Starts, observes and pauses flow runs on the simulated ECS cluster."""

from collections.abc import Iterator, Mapping
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
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.states import Cancelled, Cancelling

from clipflow.media import ffmpeg
from clipflow.storage.objects import ObjectStore
from tasks.retries import AWAITING_CAPACITY
from tests.ecs.ecs_service import EcsService
from tests.ecs.ecs_task import FLOW_RUN_ID, Task
from tests.programs import Program, eventually


@dataclass
class Machines:
    """Access to the simulated cluster, to its storage and to Prefect.

    Every ffmpeg of the cluster waits while `pause_file` exists. `environment` is that of `make
    deploy` and of the workers, which are named after their pools.
    """

    ecs: EcsService
    objects: ObjectStore
    pause_file: Path
    environment: Mapping[str, str]
    workers: Mapping[str, Program]

    def start(
        self, deployment: str, environment: Mapping[str, str] | None = None, **parameters: Any
    ) -> UUID:
        """Start a run of the deployment with additional environment variables; return its id."""
        run: Any = run_deployment(
            deployment,
            parameters=parameters,
            job_variables={"env": dict(environment or {})},
            timeout=0,
            as_subflow=False,
        )
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
        eventually(lambda: not self.ecs.running())
        return self.run(run_id)

    def end_all(self) -> None:
        """Cancel all runs that have not ended, and remove all tasks and failures of the cluster."""
        self.pause_file.unlink(missing_ok=True)
        if self.ecs.running():
            unfinished = FlowRunFilterState(
                type=FlowRunFilterStateType(not_any_=[*TERMINAL_STATES])
            )
            with get_client(sync_client=True) as client:
                for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=unfinished)):
                    client.set_flow_run_state(run.id, Cancelled(), force=True)
            self.ecs.stop_all()
        self.ecs.forget()

    def refused(self, flow: str) -> int:
        """The number of runs of the flow that have not started, because ECS refused their tasks."""
        is_waiting = FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING])
        only = FlowRunFilter(state=FlowRunFilterState(type=is_waiting))
        flows = FlowFilter(name=FlowFilterName(any_=[flow]))
        with get_client(sync_client=True) as client:
            return sum(
                AWAITING_CAPACITY in {state.name for state in client.read_flow_run_states(run.id)}
                for run in client.read_flow_runs(flow_filter=flows, flow_run_filter=only)
            )

    def run_of(self, task: Task) -> FlowRun:
        """The flow run that the task executes."""
        return self.run(task.tags[FLOW_RUN_ID])

    def state_of(self, task: Task) -> str:
        return self.state(UUID(task.tags[FLOW_RUN_ID]))

    @contextmanager
    def paused_ffmpeg(self) -> Iterator[None]:
        """Pause every ffmpeg of all machines within the context."""
        self.pause_file.touch()
        try:
            yield
        finally:
            self.pause_file.unlink(missing_ok=True)

    def running_tasks(self, flow: str, count: int) -> list[Task]:
        """Wait until `count` runs of the flow are running, and return their ECS tasks."""

        def running() -> list[Task]:
            return [task for task in self.ecs.running(flow) if self.state_of(task) == "Running"]

        eventually(lambda: len(running()) == count)
        return running()


def pausable_ffmpeg(path: Path, pause_file: Path) -> Path:
    """Write a script to `path` that runs ffmpeg as soon as `pause_file` does not exist."""
    wait = f"while [ -e '{pause_file}' ]; do sleep 0.2; done"
    path.write_text(f"#!/bin/sh\n{wait}\nexec '{ffmpeg.executable()}' \"$@\"\n")
    path.chmod(0o755)
    return path
