"""The transitions of a record's status, as tasks: Set In Progress, Set Complete, Set Failed."""

from typing import Any

from prefect import get_run_logger, task

from clipflow.domain.clips import ClipRecord
from clipflow.domain.errors import ClipflowError, Failure, OwnershipLostError
from clipflow.domain.keys import ClipKeys, RecordKeys
from clipflow.domain.model import Model
from clipflow.storage.outbox import outbox
from clipflow.storage.records import Claim, record_store
from tasks.flow_runs import state_of
from tasks.retries import RECORDS


@task(name="read-record", task_run_name="read record", **RECORDS)
def read_record(keys: ClipKeys) -> ClipRecord:
    """The clip's record; an empty one if only the event names the clip."""
    return record_store().clip(keys) or ClipRecord()


@task(name="set-in-progress", task_run_name="Set In Progress", **RECORDS)
def set_in_progress(
    keys: RecordKeys,
    run_id: str,
    initial: dict[str, Any] | None = None,
    completed_at: str | None = None,
) -> Claim:
    """Claims the record for this run, also if a run that has ended still owns it.

    If there is no record yet, it is created with the `initial` attributes, if any are given. With
    `completed_at`, a record that was completed since it was read is not claimed.
    """
    records = record_store()
    claim = records.claim(keys, run_id, initial, completed_at=completed_at)
    if claim.is_complete:
        return claim
    if not claim.granted and claim.owner and _has_ended(claim.owner):
        get_run_logger().warning(
            "Run %s ended and left its record in progress; this run claims it.", claim.owner
        )
        claim = records.claim(keys, run_id, initial, claim.owner, completed_at)
    return claim


@task(name="set-complete", task_run_name="Set Complete", **RECORDS)
def set_complete(keys: RecordKeys, run_id: str, result: Model) -> None:
    """Records the result. Raises OwnershipLostError if another run owns the record now."""
    record_store().complete(keys, run_id, result)
    _send_events(keys)


@task(name="set-failed", task_run_name="Set Failed", **RECORDS)
def set_failed(
    keys: RecordKeys, run_id: str, failure: Failure, result: Model | None = None
) -> None:
    """Records the failure, and any partial results.

    A record that another run owns now is not changed.
    """
    try:
        record_store().fail(keys, run_id, failure, result)
    except OwnershipLostError as error:
        get_run_logger().warning("%s", error)
    else:
        _send_events(keys)


def _send_events(keys: RecordKeys) -> None:
    """Send the events of a finished record. Those that cannot be sent now stay in the record."""
    try:
        outbox().send(keys)
    except ClipflowError as error:
        get_run_logger().warning("%s The bridge will send the remaining events.", error)


def _has_ended(run_id: str) -> bool:
    """Whether the flow run has ended or does not exist."""
    state = state_of(run_id)
    return state is None or state.is_final()
