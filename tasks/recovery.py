"""Recovery from a run that ended without finishing its record, and of the children it leaves."""

from collections.abc import Iterator
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
from clipflow.settings import pools
from clipflow.storage.records import record_store
from tasks.children import stop_children
from tasks.flow_runs import BEGIN, error_of, record_of, records_of, state_of, this_run
from tasks.retries import MARKS

# A run that does the work of one that was lost. It is not done a third time.
AGAIN = "again"


class Settled(StrEnum):
    """What became of a run that ended badly."""

    MARKED = "Marked"
    STARTED_AGAIN = "StartedAgain"
    NOTHING_TO_DO = "NothingToDo"


@task(name="settle", task_run_name="settle", **MARKS)
def settle(run_id: UUID) -> Settled:
    """Set Failed on what the run has claimed. What it was to claim, and nobody has, is started
    again, once; what cannot help, or has not, is marked too."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run_id)
        flow = client.read_flow(run.flow_id).name
        error = error_of(run, run.state)
        if error is None:
            return Settled.NOTHING_TO_DO
        failure = Failure.of(error)
        if _fail(run, record_of(flow, run.parameters), failure):
            return Settled.MARKED
        waiting = [keys for keys in records_of(flow, run.parameters) if _waits(keys, run)]
        # An event's own run starts what an earlier one has not, and nothing twice.
        again = waiting or (flow == BEGIN and run.parameters.get("event_id"))
        if again and not isinstance(error, TerminalError) and start_again(client, run):
            return Settled.STARTED_AGAIN
    records = record_store()
    marked = [records.fail_unclaimed(keys, str(run.id), failure) for keys in waiting]
    return Settled.MARKED if any(marked) else Settled.NOTHING_TO_DO


def start_again(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Whether another run does what this one was to do: not if it was the second already."""
    if run.deployment_id is None or AGAIN in run.tags:
        return False
    client.create_flow_run_from_deployment(
        run.deployment_id,
        parameters=run.parameters,
        name=run.name,
        tags=[*run.tags, AGAIN],
        idempotency_key=f"{AGAIN}:{run.id}",
        work_queue_name=run.work_queue_name,
    )
    return True


def _waits(keys: RecordKeys, run: FlowRun) -> bool:
    """Whether what `run` was to make is still to be made; also where an earlier run has failed at
    it, and this one has not come to claim it."""
    records = record_store()
    if records.waits(keys):
        return True
    record = records.clip(keys) if isinstance(keys, ClipKeys) else None
    failed = record is not None and record.status == ClipStatus.FAILED
    return failed and records.owner(keys) != str(run.id)


def _fail(run: FlowRun, keys: RecordKeys | None, failure: Failure) -> bool:
    """Whether the run owned the record, which now tells how it ended."""
    if keys is None:
        return False
    try:
        record_store().fail(keys, str(run.id), failure)
    except OwnershipLostError:
        return False
    return True


def _record_end(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    if _is_being_cancelled(flow_run.id):
        state = Cancelled(message="Somebody asked for that. Start it again to go on.")
    error = error_of(flow_run, state)
    keys = record_of(flow.name, flow_run.parameters)
    if error and not _fail(flow_run, keys, Failure.of(error)):
        flow_run_logger(flow_run, flow).info("The record is not this run's.")


def _stop_what_runs_elsewhere(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """No child outlives the run, unless another has taken its record over, and them with it."""
    keys = record_of(flow.name, flow_run.parameters)
    elsewhere = pools().media or pools().prepare
    if keys and elsewhere and record_store().owner(keys) == str(flow_run.id):
        stop_children(keys)


def _is_being_cancelled(run_id: UUID) -> bool:
    """Whether Prefect says so: a run that is ended for it only knows that it is being ended."""
    # Without an answer it is what it looks like, as far as anybody can tell.
    with suppress(httpx.HTTPError):
        state = state_of(str(run_id))
        return state is not None and (state.is_cancelling() or state.is_cancelled())
    return False


# A flow's hooks, the fast path; where none of them runs, the flow `mark-failed` does their work.
_HOOKS = [_record_end, _stop_what_runs_elsewhere]
AT_THE_END: dict[str, Any] = {
    "on_failure": _HOOKS,
    "on_crashed": _HOOKS,
    "on_cancellation": _HOOKS,
}


LOOK_SECONDS = 10.0
# A run that crashed may be followed by another, which adopts the children that still work.
GRACE = timedelta(seconds=30)


@contextmanager
def while_wanted(record: RecordKeys) -> Iterator[None]:
    """Within it, a child run cancels itself once the run that owns `record` is over.

    Hooks of the owner's do the same, sooner; nothing runs them where its machine was lost.
    """
    run = this_run()
    # Called as part of another flow run's own process it ends with that; by a person, by itself.
    if run.parent_task_run_id is None or run.deployment_id is None:
        yield
        return
    done = Event()
    Thread(target=_watch, args=(run, record, done), name="ownership", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _watch(run: FlowRun, record: RecordKeys, done: Event) -> None:
    logger = flow_run_logger(run)
    while not done.wait(LOOK_SECONDS):
        try:
            if not is_wanted(record):
                logger.warning("Nobody waits for %s any longer.", run.name)
                _cancel(run)
                return
        except (ClipflowError, httpx.HTTPError) as error:
            logger.warning("Who owns %s cannot be seen now: %s", record.label, error)


def is_wanted(record: RecordKeys) -> bool:
    """Whether the run that owns `record` is alive, or was lost so lately that another may follow.

    Raises StorageUnavailableError or httpx's HTTPError where that cannot be found out.
    """
    owner = record_store().owner(record)
    if owner is None:
        return False
    state = state_of(owner)
    if state is None:
        return False
    if not state.is_final():
        return not state.is_cancelling()
    return state.is_crashed() and datetime.now(UTC) - state.timestamp < GRACE


def _cancel(run: FlowRun) -> None:
    """By way of Prefect, so that whatever runs this process ends it as it would for a person."""
    state: State[Any] = Cancelling(message="The run that asked for this is over.")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, state)
