"""Work done by flow runs of their own, on other machines, for the run that owns a record."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Lock
from typing import Any, cast
from uuid import UUID

import httpx
from prefect import get_client, get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.states import Cancelling, Crashed

from clipflow.domain.errors import MachineLostError, StoppedError
from clipflow.domain.keys import RecordKeys
from tasks.ended import error_of
from tasks.jobs import tags_of

LOOK_SECONDS = 1.0
# An autoscaling group may take long to bring up an instance; what takes longer was forgotten.
LONGEST_LAUNCH = timedelta(minutes=30)
ALIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]


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
        self._looking = Lock()
        self._looked_at = 0.0
        self._seen: dict[UUID, FlowRun] = {}

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
                # Not whose it is: a tenant's share is counted in clips, by that.
                tags=[record_tag(child.record), child.tag, *tags_of(child.record)[1:]],
                # Two parents that do not know of each other start the same run.
                idempotency_key=f"{child.tag}:{attempt}",
                timeout=0,
            )
            # Its type is that of both its uses; outside an event loop it gives the run itself.
            return cast(FlowRun, started)

    def seen_later(self, client: SyncPrefectClient, run: FlowRun) -> FlowRun:
        """The run as it is a moment later. Raises StoppedError once nobody waits for anything.

        One look serves all who wait: ten children asked after each by itself were two thirds of
        what the Prefect server had to do.
        """
        self._over.wait(LOOK_SECONDS)
        self._check()
        with self._looking:
            self._seen.setdefault(run.id, run)
            if time.monotonic() - self._looked_at >= LOOK_SECONDS / 2:
                self._look(client)
            return self._seen[run.id]

    def _look(self, client: SyncPrefectClient) -> None:
        going = [id for id, run in self._seen.items() if not (run.state and run.state.is_final())]
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=going))
        found = {run.id: run for run in client.read_flow_runs(flow_run_filter=wanted)}
        # A run that somebody has deleted is over, whatever it still does.
        gone = {id: self._seen[id] for id in going if id not in found}
        self._seen |= found | {id: _deleted(run) for id, run in gone.items()}
        self._looked_at = time.monotonic()

    def leave(self) -> None:
        """Nobody waits any longer, and no child is started any more."""
        with self._starting:
            self._over.set()

    def _check(self) -> None:
        if self._over.is_set():
            raise StoppedError("The run that asked for this ended first.")


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

    Raises the child's own error, by its type and with its message; MachineLostError where its
    machine was lost or never came; StoppedError where somebody cancelled it.
    """
    crew = _crew.get()
    with get_client(sync_client=True) as client:
        run = crew.start(client, child)
        while not (run.state and run.state.is_final()):
            run = crew.seen_later(client, run)
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


def _deleted(run: FlowRun) -> FlowRun:
    return run.model_copy(update={"state": Crashed(message="It was deleted in Prefect.")})


def _is_of_use(state: State[Any], child: Child) -> bool:
    return state.type in ALIVE or (child.once and state.is_completed())


def _give_up_on_the_lost(client: SyncPrefectClient, run: FlowRun) -> None:
    """Raises MachineLostError for a run that was handed over, and whose machine was never heard
    of."""
    state = run.state
    if state and state.is_pending() and datetime.now(UTC) - state.timestamp > LONGEST_LAUNCH:
        message = f"No machine for {run.name} in {LONGEST_LAUNCH}."
        client.set_flow_run_state(run.id, Cancelling(message=message))
        raise MachineLostError(message, "Start it again to go on; see the cluster's capacity.")


def _attempt(run: FlowRun | None) -> int:
    """The number at the end of its key; 0 before the first."""
    number = (run.idempotency_key or "").rpartition(":")[2] if run else ""
    return int(number) if number.isdigit() else 0
