"""Recovery of records and child runs after a run has ended without finishing its record.

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

# The tag of a run that repeats a lost run. A run with this tag is not repeated again.
RESTARTED_TAG = "again"
OWNER_CHECK_SECONDS = 10.0
# How long after the crash of its parent a child waits for another run that may adopt it.
ADOPTION_GRACE = timedelta(seconds=30)
_KILL_SECONDS = 30.0


class Reconciled(StrEnum):
    """The result of recovery, which is the state name of the `mark-failed` run."""

    MARKED = "Marked"
    STARTED_AGAIN = "StartedAgain"
    NOTHING_TO_DO = "NothingToDo"


@task(name="reconcile", task_run_name="reconcile", **RECOVERY)
def reconcile(run_id: UUID) -> Reconciled:
    """Updates the records of a run that failed, crashed or was cancelled.

    The record that the run has claimed is marked as failed. If it had not claimed its records yet,
    the run is started again once; if that cannot help or has not helped, they are marked as failed.
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
    """Starts another run with the same parameters; returns False if `run` is such a repetition."""
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
    """Whether the output of `run` still has to be made.

    That includes a record that an earlier run has marked as failed and `run` has not claimed.
    """
    records = record_store()
    if records.is_unclaimed(keys):
        return True
    record = records.clip(keys) if isinstance(keys, ClipKeys) else None
    failed = record is not None and record.status == ClipStatus.FAILED
    return failed and records.owner(keys) != str(run.id)


def _fail_owned(run: FlowRun, keys: RecordKeys | None, failure: Failure) -> bool:
    """Marks the record as failed if the run owns it; returns whether it does."""
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
        flow_run_logger(flow_run, flow).info("This run does not own the record.")


def _cancel_own_children(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    keys = record_of(flow.name, flow_run.parameters)
    if keys and fan_out().is_remote:
        cancel_children(keys, str(flow_run.id))


def _is_being_cancelled(run_id: UUID) -> bool:
    """Whether the run was cancelled. Only the server has that state; the process gets a signal."""
    # If the server does not respond, the state passed to the hook is used.
    with suppress(httpx.HTTPError):
        state = state_of(str(run_id))
        return state is not None and (state.is_cancelling() or state.is_cancelled())
    return False


# The hooks recover within a second. If no hook runs, the flow `mark-failed` does the same.
_HOOKS = [_record_failure, _cancel_own_children]
STATE_HOOKS: dict[str, Any] = {
    "on_failure": _HOOKS,
    "on_crashed": _HOOKS,
    "on_cancellation": _HOOKS,
}


@contextmanager
def cancel_if_orphaned(record: RecordKeys) -> Iterator[None]:
    """A context in which a child run cancels itself once the run that owns `record` has ended.

    The owner's state hooks cancel children sooner, but no hook runs if its machine was lost.
    """
    run = this_run()

    def check() -> bool:
        if is_needed(record):
            return False
        flow_run_logger(run).warning("The parent of %s has ended, so it is cancelled.", run.name)
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
    """A context in which a run's process stops once its run has ended in Prefect.

    A running process that cannot send heartbeats for a while is declared Crashed. Another run may
    then do the same work, or the record is marked as failed, so its work is useless.
    """
    run = this_run()

    def check() -> bool:
        state = state_of(str(run.id))
        if state is not None and not state.is_final():
            return False
        flow_run_logger(run).warning(
            "%s has ended in Prefect, so its process is stopped.", run.name
        )
        _stop_process()
        return True

    # A run that shares its caller's process, as in a test, must not end it.
    if os.environ.get("PREFECT__FLOW_RUN_ID") != str(run.id):
        yield
    else:
        with _checking(run, check):
            yield


@contextmanager
def _checking(run: FlowRun, check: Callable[[], bool]) -> Iterator[None]:
    """A context in which a thread calls `check` every OWNER_CHECK_SECONDS until it returns True."""
    done, logger = Event(), flow_run_logger(run)

    def loop() -> None:
        while not done.wait(OWNER_CHECK_SECONDS):
            try:
                if check():
                    return
            except (ClipflowError, httpx.HTTPError) as error:
                logger.warning("Cannot check whether %s is still needed: %s", run.name, error)

    Thread(target=loop, name="recovery", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _stop_process() -> None:
    """Ends this process as a worker does: with SIGTERM, which Prefect handles, then SIGKILL."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_KILL_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def is_needed(record: RecordKeys) -> bool:
    """Whether the owner of `record` is active, or crashed so recently that another may follow.

    Raises StorageUnavailableError or httpx's HTTPError if that is unknown.
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
    """Cancels the run through Prefect, whose worker then ends the process."""
    state: State[Any] = Cancelling(message="The run that started this has ended.")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, state)
