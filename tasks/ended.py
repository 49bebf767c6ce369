"""What Prefect knows of a run that ended, or may have."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound

from clipflow.domain import errors
from clipflow.domain.errors import (
    ClipflowError,
    DeadlineExceededError,
    MachineLostError,
    StoppedError,
    TerminalError,
)

# Prefect's own words for a flow that raised: the type of its error, and what it said.
_RAISED = re.compile(r"exception: (\w+): (.*)", re.DOTALL)
_TIMED_OUT = "TimedOut"


def state_of(run_id: str) -> State[Any] | None:
    """The flow run's; None where Prefect knows of no such run. Raises httpx's HTTPError."""
    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(UUID(run_id)).state
    except (ObjectNotFound, ValueError):
        return None


def error_of(run: FlowRun, state: State[Any] | None) -> ClipflowError | None:
    """What ended a run in `state`, with its own message; None where it did its part."""
    message = (state and state.message) or "no reason was given"
    if state is None or state.is_completed():
        return None
    if state.is_cancelled():
        return StoppedError(f"{run.name} was cancelled: {message}")
    if state.is_crashed():
        return MachineLostError(f"{run.name} was lost: {message}", "Start it again to go on.")
    if state.name == _TIMED_OUT:
        return DeadlineExceededError(f"{run.name}: {message}", "Start it again to go on.")
    raised = _RAISED.search(message)
    if not raised:
        return TerminalError(f"{run.name} failed: {message}")
    kind: Callable[[str], ClipflowError] | None = getattr(errors, raised[1], None)
    if not (isinstance(kind, type) and issubclass(kind, ClipflowError)):
        return TerminalError(
            f"{raised[1]}: {raised[2]}", "This is a defect in clipflow: see its log."
        )
    return kind(raised[2])
