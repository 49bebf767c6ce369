"""The status writer: Set In Progress, Set Complete, Set Failed."""

from typing import Any

from prefect import get_run_logger, task

from clipflow.domain.clips import ClipRecord
from clipflow.domain.errors import Failure, OwnershipLostError
from clipflow.domain.keys import ClipKeys, RecordKeys
from clipflow.domain.model import Model
from clipflow.storage.records import Claim, record_store
from tasks.flow_runs import state_of
from tasks.retries import RECORDS


@task(name="read-record", task_run_name="read record", **RECORDS)
def read_record(keys: ClipKeys) -> ClipRecord:
    """The clip's record; an empty one where the event alone knows of the clip."""
    return record_store().clip(keys) or ClipRecord()


@task(name="set-in-progress", task_run_name="Set In Progress", **RECORDS)
def set_in_progress(keys: RecordKeys, run_id: str, brought: dict[str, Any] | None = None) -> Claim:
    """Claim the record for this run, also from a run that is over and left it in progress.

    Where there is no record yet, it is made of what was `brought`, if anything was.
    """
    records = record_store()
    claim = records.claim(keys, run_id, brought)
    if not claim.granted and claim.owner and _is_over(claim.owner):
        get_run_logger().warning("Run %s left its record in progress: taken over.", claim.owner)
        claim = records.claim(keys, run_id, brought, dead_owner=claim.owner)
    return claim


@task(name="set-complete", task_run_name="Set Complete", **RECORDS)
def set_complete(keys: RecordKeys, run_id: str, result: Model) -> None:
    record_store().complete(keys, run_id, result)


@task(name="set-failed", task_run_name="Set Failed", **RECORDS)
def set_failed(
    keys: RecordKeys, run_id: str, failure: Failure, result: Model | None = None
) -> None:
    """Record the failure, and what was made nevertheless; a record that another run owns by now
    is left to that run."""
    try:
        record_store().fail(keys, run_id, failure, result)
    except OwnershipLostError as error:
        get_run_logger().warning("%s", error)


def _is_over(run_id: str) -> bool:
    """Whether Prefect knows that the flow run ended, or does not know it at all."""
    state = state_of(run_id)
    return state is None or state.is_final()
