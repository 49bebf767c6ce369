"""The end of a run, recorded for it: whatever killed it may have left nobody there to do so."""

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.recovery import settle


@flow(name="mark-failed", flow_run_name="after {flow_run_id}")
def mark_failed(flow_run_id: UUID) -> State[Any]:
    """Settle what a run that ended badly leaves: its record says so, or it is started again.

    Args:
        flow_run_id: The run that failed, crashed or was cancelled.
    """
    return Completed(name=settle(flow_run_id))
