"""Recovery from a run that ended badly, perhaps without a process left to record that."""

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.recovery import reconcile


@flow(name="mark-failed", flow_run_name="after {flow_run_id}")
def mark_failed(flow_run_id: UUID) -> State[Any]:
    """Set Failed on the record of a run that ended badly, or start it again.

    Args:
        flow_run_id: The run that failed, crashed or was cancelled.
    """
    return Completed(name=reconcile(flow_run_id))
