"""The runs that wait for a process of their own, while one is here that can do what they would."""

from datetime import UTC, datetime
from random import choice
from uuid import UUID

import httpx
from prefect import get_client, get_run_logger, task
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType

from tasks.jobs import asked_for
from tasks.start import Asker, outcome, start_clips
from tasks.this_run import this_run

# In one process; and so many are looked at before each.
_MOST = 100
_LOOK = 20


def begin_those_who_wait() -> None:
    """Starts the clips of the other events whose turn has come, and completes their runs.

    A process costs what starting twenty clips does. Nothing is claimed before: the clips are
    started by the keys that their own run would use, so it may as well be taken by its worker
    meanwhile, and one that is left halfway is as it was.
    """
    try:
        tried: set[UUID] = set()
        while len(tried) < _MOST:
            waiting = [run for run in _waiting() if run.id not in tried]
            if not waiting:
                return
            run = choice(waiting)  # another process may be at them, too
            tried.add(run.id)
            # What is wrong with it, its own run will say.
            begin_other(run.id, run.name, return_state=True)
    except httpx.HTTPError as error:
        get_run_logger().warning("Others wait for processes of their own: %s", error)


@task(name="begin-other", task_run_name="begin {name}")
def begin_other(run_id: UUID, name: str) -> None:
    """What that run of this flow would do, if it still waits."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run_id)
        if run.state and run.state.is_scheduled():
            asked = asked_for(run.parameters)
            started = start_clips(asked, Asker.of(run))
            how = f" in the process of {this_run().name}"
            client.set_flow_run_state(run_id, outcome(asked, started, how))


def _waiting() -> list[FlowRun]:
    deployment = this_run().deployment_id
    if deployment is None:
        return []
    due = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC)),
    )
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=due, limit=_LOOK)
