"""The status writer: Set In Progress, Set Complete, Set Failed."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow, get_client, get_run_logger, task
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.flows import FlowStateHook
from prefect.logging.loggers import flow_run_logger

from clipflow.domain.clips import ClipRecord
from clipflow.domain.errors import Failure, FailureCode, OwnershipLost
from clipflow.domain.keys import ClipKeys, RecordKeys
from clipflow.domain.model import Model
from clipflow.storage.records import Claim, record_store
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
    except OwnershipLost as error:
        get_run_logger().warning("%s", error)


def record_end_without_result(
    keys_of: Callable[[dict[str, Any]], RecordKeys],
) -> FlowStateHook[..., Any]:
    """A flow's hook: Set Failed for a run that was cancelled or whose process is gone.

    `keys_of` finds the record from the run's parameters.
    """

    def record_end(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
        cancelled = state.is_cancelled() or _is_being_cancelled(flow_run.id)
        code = FailureCode.CANCELLED if cancelled else FailureCode.CRASHED
        ended = "was cancelled" if cancelled else "crashed"
        message = f"The run {flow_run.name} {ended}. Start it again to go on."
        keys = keys_of(flow_run.parameters)
        try:
            record_store().fail(keys, str(flow_run.id), Failure(code, message))
        except OwnershipLost as error:
            flow_run_logger(flow_run, flow).info("%s", error)

    return record_end


def _is_being_cancelled(run_id: UUID) -> bool:
    """Whether Prefect says so: a run that is ended for it only knows that it is being ended."""
    # Without an answer it is a crash, as far as anybody can tell.
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        state = client.read_flow_run(run_id).state
        return state is not None and (state.is_cancelling() or state.is_cancelled())
    return False


def _is_over(run_id: str) -> bool:
    """Whether Prefect knows that the flow run ended, or does not know it at all."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(run_id)).state
    except (ObjectNotFound, ValueError):
        return True
    return state is not None and state.is_final()
