"""Work done by flow runs of their own, on other machines, for the run that owns a record."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Lock
from typing import Any, cast

import httpx
from prefect import get_client, get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from clipflow.domain import errors
from clipflow.domain.errors import ClipflowError, MachineLost, Stopped, Terminal
from clipflow.domain.keys import RecordKeys

LOOK_SECONDS = 1.0
# An autoscaling group may take long to bring up an instance; what takes longer was forgotten.
LONGEST_LAUNCH = timedelta(minutes=30)
ALIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]

# Prefect's own words for a flow that raised: the type of its error, and what it said.
_RAISED = re.compile(r"exception: (\w+): (.*)", re.DOTALL)


@dataclass(frozen=True)
class Child:
    """One part of the work on `record`, as its flow run is told.

    Attributes:
        deployment: `flow/deployment`.
        name: what people call the run.
        part: which part, and what of; equal for equal work.
        once: whether a run that did this part has done it for good.
        parameters: the flow's, as JSON: references, never bytes.
    """

    deployment: str
    name: str
    record: RecordKeys
    part: str
    once: bool
    parameters: dict[str, Any]

    @property
    def tag(self) -> str:
        """What every run of this part carries."""
        return f"{record_tag(self.record)}/{self.part}"


def record_tag(record: RecordKeys) -> str:
    """What every child of whichever run owns the record carries."""
    return "/".join(record.record.values())


class Crew:
    """The child runs that one step of a parent waits for."""

    def __init__(self) -> None:
        self._over = Event()
        # One at a time, so that no child starts after `leave`; and Prefect counts the children of
        # a parent without a lock of its own.
        self._starting = Lock()

    def start(self, client: SyncPrefectClient, child: Child) -> FlowRun:
        """The run that does this part: one that is at it for an earlier parent, or a new one."""
        with self._starting:
            self._check()
            last = _last_run(client, child)
            if last and last.state and _is_of_use(last.state, child):
                return last
            attempt = _attempt(last) + 1
            started = run_deployment(
                child.deployment,
                parameters=child.parameters,
                flow_run_name=child.name,
                tags=[record_tag(child.record), child.tag],
                # Two parents that do not know of each other start the same run.
                idempotency_key=f"{child.tag}:{attempt}",
                timeout=0,
            )
            # Its type is that of both its uses; outside an event loop it gives the run itself.
            return cast(FlowRun, started)

    def wait(self) -> None:
        """For a moment. Raises Stopped once the parent no longer waits for anything."""
        self._over.wait(LOOK_SECONDS)
        self._check()

    def leave(self) -> None:
        """Nobody waits any longer, and no child is started any more."""
        with self._starting:
            self._over.set()

    def _check(self) -> None:
        if self._over.is_set():
            raise Stopped("The run that asked for this ended first.")


_crew: ContextVar[Crew] = ContextVar("crew")


@contextmanager
def crew_of(record: RecordKeys) -> Iterator[None]:
    """Within it, `finish` may be called, also by the tasks of other threads.

    An error that leaves it stops every child. A signal does not: the run may go on elsewhere, and
    adopt them; where it does not, its hooks and the children themselves see to their end.
    """
    crew = Crew()
    token = _crew.set(crew)
    try:
        yield
    except Exception:
        crew.leave()
        try:
            stop_children(record)
        except httpx.HTTPError as error:
            get_run_logger().warning("The children end by themselves, later: %s", error)
        raise
    finally:
        crew.leave()
        _crew.reset(token)


def finish(child: Child) -> None:
    """Returns once a run of its own has done the child's part.

    Raises the child's own error, by its type and with its message; MachineLost where its machine
    was lost or never came; Stopped where somebody cancelled it.
    """
    crew = _crew.get()
    with get_client(sync_client=True) as client:
        run = crew.start(client, child)
        while not (run.state and run.state.is_final()):
            crew.wait()
            run = client.read_flow_run(run.id)
            _give_up_on_the_lost(client, run)
    error = error_of(run, run.state)
    if error:
        raise error


def stop_children(record: RecordKeys) -> None:
    """Asks Prefect to cancel every child run of the record's that is not over."""
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[record_tag(record)]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ALIVE)),
    )
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=wanted):
            state: State[Any] = Cancelling(message="The run that asked for this ended first.")
            client.set_flow_run_state(run.id, state)


def _last_run(client: SyncPrefectClient, child: Child) -> FlowRun | None:
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[child.tag])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=1,
    )
    return runs[0] if runs else None


def _is_of_use(state: State[Any], child: Child) -> bool:
    return state.type in ALIVE or (child.once and state.is_completed())


def _give_up_on_the_lost(client: SyncPrefectClient, run: FlowRun) -> None:
    """Raises MachineLost for a run that was handed over, and whose machine was never heard of."""
    state = run.state
    if state and state.is_pending() and datetime.now(UTC) - state.timestamp > LONGEST_LAUNCH:
        message = f"No machine for {run.name} in {LONGEST_LAUNCH}."
        client.set_flow_run_state(run.id, Cancelling(message=message))
        raise MachineLost(message, "Start it again to go on; see the cluster's capacity.")


def _attempt(run: FlowRun | None) -> int:
    """The number at the end of its key; 0 before the first."""
    number = (run.idempotency_key or "").rpartition(":")[2] if run else ""
    return int(number) if number.isdigit() else 0


def error_of(run: FlowRun, state: State[Any] | None) -> ClipflowError | None:
    """What `finish` raises for a run that ended in `state`; None where it did its part."""
    message = (state and state.message) or "no reason was given"
    if state is None or state.is_completed():
        return None
    if state.is_cancelled():
        return Stopped(f"{run.name} was cancelled: {message}")
    if state.is_crashed():
        return MachineLost(f"{run.name} was lost: {message}", "Start it again to go on.")
    raised = _RAISED.search(message)
    if not raised:
        return Terminal(f"{run.name} failed: {message}")
    kind: Callable[[str], ClipflowError] | None = getattr(errors, raised[1], None)
    if not (isinstance(kind, type) and issubclass(kind, ClipflowError)):
        return Terminal(f"{raised[1]}: {raised[2]}", "This is a defect in clipflow: see its log.")
    return kind(raised[2])
