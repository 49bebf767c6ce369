"""Recovery from a run that ended without finishing its record, and of the children it leaves.

docs/reliability.md has the table of all recovery mechanisms and their fallbacks.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from threading import Event, Thread
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow, get_client, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.states import Cancelled, Cancelling

from clipflow.domain.clips import ClipStatus
from clipflow.domain.errors import ClipflowError, Failure, OwnershipLostError, TerminalError
from clipflow.domain.keys import ClipKeys, RecordKeys
from clipflow.settings import fan_out
from clipflow.storage.records import record_store
from tasks.children import cancel_children
from tasks.dispatch import start_queued
from tasks.flow_runs import (
    BEGIN_CLIP_GENERATION,
    error_of,
    record_of,
    records_of,
    state_of,
    this_run,
)
from tasks.retries import RECOVERY

# The tag of a run that repeats a lost one. It is not repeated itself.
RESTARTED_TAG = "again"
OWNER_CHECK_SECONDS = 10.0
# A run that crashed may be followed by another within this time, which adopts its children.
ADOPTION_GRACE = timedelta(seconds=30)
_KILL_SECONDS = 30.0


class Reconciled(StrEnum):
    """What became of a run that ended badly: the state name of the `mark-failed` run."""

    MARKED = "Marked"
    STARTED_AGAIN = "StartedAgain"
    NOTHING_TO_DO = "NothingToDo"


@task(name="reconcile", task_run_name="reconcile", **RECOVERY)
def reconcile(run_id: UUID) -> Reconciled:
    """Bring the records of a run that ended badly up to date.

    Set Failed on the record that the run has claimed. A record that it was to claim and that
    no run has is started again once; if that cannot help or has not helped, it is failed too.
    """
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run_id)
        flow = client.read_flow(run.flow_id).name
        error = error_of(run, run.state)
        if error is None:
            return Reconciled.NOTHING_TO_DO
        failure = Failure.of(error)
        if _fail_owned(run, record_of(flow, run.parameters), failure):
            start_queued(str(run.id))
            return Reconciled.MARKED
        waiting = [keys for keys in records_of(flow, run.parameters) if _is_waiting(keys, run)]
        # The run of an event starts only the clips that an earlier one has not started.
        repeat = waiting or (flow == BEGIN_CLIP_GENERATION and run.parameters.get("event_id"))
        if repeat and not isinstance(error, TerminalError) and restart(client, run):
            return Reconciled.STARTED_AGAIN
    records = record_store()
    marked = [records.fail_unclaimed(keys, str(run.id), failure) for keys in waiting]
    return Reconciled.MARKED if any(marked) else Reconciled.NOTHING_TO_DO


def restart(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Start another run with the same parameters; False if `run` was itself such a repetition."""
    if run.deployment_id is None or RESTARTED_TAG in run.tags:
        return False
    client.create_flow_run_from_deployment(
        run.deployment_id,
        parameters=run.parameters,
        name=run.name,
        tags=[*run.tags, RESTARTED_TAG],
        idempotency_key=f"{RESTARTED_TAG}:{run.id}",
        work_queue_name=run.work_queue_name,
    )
    return True


def _is_waiting(keys: RecordKeys, run: FlowRun) -> bool:
    """Whether what `run` was to make is still to be made.

    That includes a record that an earlier run has failed, and that `run` never came to claim.
    """
    records = record_store()
    if records.is_unclaimed(keys):
        return True
    record = records.clip(keys) if isinstance(keys, ClipKeys) else None
    failed = record is not None and record.status == ClipStatus.FAILED
    return failed and records.owner(keys) != str(run.id)


def _fail_owned(run: FlowRun, keys: RecordKeys | None, failure: Failure) -> bool:
    """Set Failed on the record if the run owns it; whether it does."""
    if keys is None:
        return False
    try:
        record_store().fail(keys, str(run.id), failure)
    except OwnershipLostError:
        return False
    return True


def _record_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    if _is_being_cancelled(flow_run.id):
        state = Cancelled(message="It was cancelled on request. Start it again to continue.")
    error = error_of(flow_run, state)
    keys = record_of(flow.name, flow_run.parameters)
    if error and not _fail_owned(flow_run, keys, Failure.of(error)):
        flow_run_logger(flow_run, flow).info("The record is not this run's.")


def _cancel_own_children(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    keys = record_of(flow.name, flow_run.parameters)
    if keys and fan_out().is_remote:
        cancel_children(keys, str(flow_run.id))


def _is_being_cancelled(run_id: UUID) -> bool:
    """Whether the run ends because it was cancelled: its own process only sees the signal."""
    # If the server does not answer, the state that the hook was called with is used.
    with suppress(httpx.HTTPError):
        state = state_of(str(run_id))
        return state is not None and (state.is_cancelling() or state.is_cancelled())
    return False


# The fast path of recovery; where no hook runs, the flow `mark-failed` does the same.
_HOOKS = [_record_failure, _cancel_own_children]
STATE_HOOKS: dict[str, Any] = {
    "on_failure": _HOOKS,
    "on_crashed": _HOOKS,
    "on_cancellation": _HOOKS,
}


@contextmanager
def cancel_if_orphaned(record: RecordKeys) -> Iterator[None]:
    """Within it, a child run cancels itself once the run that owns `record` has ended.

    The owner's state hooks cancel children sooner, but no hook runs if its machine was lost.
    """
    run = this_run()

    def check() -> bool:
        if is_wanted(record):
            return False
        flow_run_logger(run).warning("No run waits for %s any longer: cancelling it.", run.name)
        _cancel(run)
        return True

    # A run without a parent was started by a person; one without a deployment ends with the
    # process of its parent.
    if run.parent_task_run_id is None or run.deployment_id is None:
        yield
    else:
        with _checking(run, check), stop_if_ended():
            yield


@contextmanager
def stop_if_ended() -> Iterator[None]:
    """Within it, a run's process stops once Prefect says that the run has ended.

    A run that could not send heartbeats for a while is declared Crashed though it is at work. By
    then another run may do the same work, or its record has failed, so the rest is wasted.
    """
    run = this_run()

    def check() -> bool:
        state = state_of(str(run.id))
        if state is not None and not state.is_final():
            return False
        flow_run_logger(run).warning("%s has ended for Prefect: stopping its process.", run.name)
        _stop_process()
        return True

    # A run outside of a process of its own, as in a test, must not end its caller's.
    if os.environ.get("PREFECT__FLOW_RUN_ID") != str(run.id):
        yield
    else:
        with _checking(run, check):
            yield


@contextmanager
def _checking(run: FlowRun, check: Callable[[], bool]) -> Iterator[None]:
    """Within it, a thread calls `check` every OWNER_CHECK_SECONDS until it returns True."""
    done, logger = Event(), flow_run_logger(run)

    def loop() -> None:
        while not done.wait(OWNER_CHECK_SECONDS):
            try:
                if check():
                    return
            except (ClipflowError, httpx.HTTPError) as error:
                logger.warning("Whether %s is still wanted is not known now: %s", run.name, error)

    Thread(target=loop, name="recovery", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _stop_process() -> None:
    """As a worker ends a process: SIGTERM, which Prefect handles, and SIGKILL 30 s later."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_KILL_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def is_wanted(record: RecordKeys) -> bool:
    """Whether the owner of `record` is active, or crashed so recently that another may follow.

    Raises StorageUnavailableError or httpx's HTTPError if that cannot be found out.
    """
    owner = record_store().owner(record)
    if owner is None:
        return False
    state = state_of(owner)
    if state is None:
        return False
    if not state.is_final():
        return not state.is_cancelling()
    return state.is_crashed() and datetime.now(UTC) - state.timestamp < ADOPTION_GRACE


def _cancel(run: FlowRun) -> None:
    """Cancel by way of Prefect, so that the worker ends the process as it does for a person."""
    state: State[Any] = Cancelling(message="The run that started this has ended.")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, state)
