"""A child run works for whoever owns the record, and ends when that run has."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

import httpx
from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.states import Cancelling

from clipflow.domain.errors import ClipflowError
from clipflow.domain.keys import RecordKeys
from clipflow.storage.records import record_store
from tasks.ended import state_of
from tasks.this_run import this_run

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
