"""The flow that recovers the records of a run that failed, crashed or was cancelled."""

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.flow_runs import NO_RESULTS
from tasks.recovery import reconcile


@flow(name="mark-failed", flow_run_name="after {flow_run_id}", **NO_RESULTS)
def mark_failed(flow_run_id: UUID) -> State[Any]:
    """Mark the records of a run that failed, crashed or was cancelled as failed, or start it again.

    Args:
        flow_run_id: The run that failed, crashed or was cancelled.
    """
    return Completed(name=reconcile(flow_run_id))
