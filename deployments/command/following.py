"""Starting a run and following it to its end; Ctrl-C cancels it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.deployments import run_deployment
from prefect.states import Cancelling
from rich.console import Console

from clipflow.domain.keys import ShortsKeys

GENERATE_SHORTS = "generate-shorts/clipflow"
# Seconds between two looks, and for a cancelled run to end.
_LOOK, _PATIENCE = 0.5, 60.0


def follow(keys: ShortsKeys, force: bool, console: Console) -> State[object]:
    """Make the shorts of a video, saying each step; the state in which the run ended.

    Ctrl-C cancels the run, waits until it has ended, and is raised on.
    """
    parameters = {"user_id": keys.user_id, "video_id": keys.video_id, "force": force}
    started = run_deployment(GENERATE_SHORTS, parameters=parameters, timeout=0, as_subflow=False)
    run_id = cast(FlowRun, started).id
    with get_client(sync_client=True) as client, _cancelling(client, run_id, console):
        return _watched(client, run_id, console)


def _watched(client: SyncPrefectClient, run_id: UUID, console: Console) -> State[object]:
    began, told = time.monotonic(), set[UUID]()
    with console.status("waiting for a worker") as status:
        while True:
            state = client.read_flow_run(run_id).state
            steps = list(_steps(client, run_id))
            for step in steps:
                if step.state and step.state.is_final() and step.id not in told:
                    told.add(step.id)
                    mark = "[green]✓[/]" if step.state.is_completed() else "[red]✗[/]"
                    console.print(f"{time.monotonic() - began:6.1f} s  {mark} {step.name}")
            running = ", ".join(s.name for s in steps if s.state and s.state.is_running())
            status.update(running or "waiting")
            if state and state.is_final():
                return state
            time.sleep(_LOOK)


def _steps(client: SyncPrefectClient, run_id: UUID) -> Iterator[TaskRun]:
    """The task runs of the run and of the runs below it, without those that stand for runs."""
    for chosen in (
        FlowRunFilter(id=FlowRunFilterId(any_=[run_id])),
        FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run_id])),
    ):
        for step in client.read_task_runs(flow_run_filter=chosen):
            if not (step.state and step.state.state_details.child_flow_run_id):
                yield step


@contextmanager
def _cancelling(client: SyncPrefectClient, run_id: UUID, console: Console) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.print("Cancelling the run")
        client.set_flow_run_state(run_id, Cancelling(message="Ctrl-C"))
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            state = client.read_flow_run(run_id).state
            if state and state.is_final():
                break
            time.sleep(_LOOK)
        raise
