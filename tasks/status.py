"""The status writer: Set In Progress, Set Complete, Set Failed."""

from typing import Any
from uuid import UUID

from prefect import Flow, get_client, get_run_logger, task
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.logging.loggers import flow_run_logger

from clipflow.domain.clips import ClipRecord, ClipResult, Segment
from clipflow.domain.errors import Failure, FailureCode, OwnershipLost
from clipflow.domain.keys import ClipKeys
from clipflow.settings import settings
from clipflow.storage.records import Claim, record_store
from tasks.retries import RECORDS


@task(name="read-record", task_run_name="read record", **RECORDS)
def read_record(keys: ClipKeys) -> ClipRecord:
    """The clip's record; an empty one where the event alone knows of the clip."""
    return record_store().clip(keys) or ClipRecord()


@task(name="set-in-progress", task_run_name="Set In Progress", **RECORDS)
def set_in_progress(keys: ClipKeys, run_id: str, segments: list[Segment] | None) -> Claim:
    """Claim the record for this run, also from a run that is over and left it in progress."""
    records = record_store()
    claim = records.claim(keys, run_id, segments)
    if not claim.granted and claim.owner and _is_over(claim.owner):
        get_run_logger().warning("Run %s left its record in progress: taken over.", claim.owner)
        claim = records.claim(keys, run_id, segments, dead_owner=claim.owner)
    return claim


@task(name="set-complete", task_run_name="Set Complete", **RECORDS)
def set_complete(keys: ClipKeys, run_id: str, result: ClipResult) -> None:
    record_store().complete(keys, run_id, result)


@task(name="set-failed", task_run_name="Set Failed", **RECORDS)
def set_failed(keys: ClipKeys, run_id: str, failure: Failure) -> None:
    """Record the failure; a record that another run owns by now is left to that run."""
    try:
        record_store().fail(keys, run_id, failure)
    except OwnershipLost as error:
        get_run_logger().warning("%s", error)


def record_end_without_result(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A flow's hook: Set Failed for a run that was cancelled or whose process is gone."""
    code = FailureCode.CANCELLED if state.is_cancelled() else FailureCode.CRASHED
    asked = flow_run.parameters
    keys = ClipKeys(
        asked["tenant_id"], asked["episode_id"], asked["clip_id"], settings().key_prefix
    )
    message = f"The run {flow_run.name} ended as {state.name}. Send the event again to go on."
    try:
        record_store().fail(keys, str(flow_run.id), Failure(code, message))
    except OwnershipLost as error:
        flow_run_logger(flow_run, flow).info("%s", error)


def _is_over(run_id: str) -> bool:
    """Whether Prefect knows that the flow run ended, or does not know it at all."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(run_id)).state
    except (ObjectNotFound, ValueError):
        return True
    return state is not None and state.is_final()
