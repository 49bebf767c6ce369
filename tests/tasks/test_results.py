"""A results page that cannot be stored is logged, and does not fail the job."""

from fractions import Fraction
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Moment, Short
from clipflow.domain.transcript import words_json
from clipflow.storage.objects import ObjectStore
from tasks.run_page import publish_shorts_page
from tests.programs import eventually

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]
MOMENT = Moment(start=Fraction(0), end=Fraction(5), score=9, why="", title="A title")


def test_a_job_is_complete_with_or_without_its_page(objects: ObjectStore) -> None:
    keys = ShortsKeys("u", "shown", "warehouse")

    @flow
    def job() -> str:
        publish_shorts_page(keys, [Short.made(1, keys.short(1), MOMENT, 1)])
        return "made"

    # There is no transcript, which every page needs.
    state = job(return_state=True)
    assert (state.is_completed(), state.result()) == (True, "made")
    run = state.state_details.flow_run_id
    with get_client(sync_client=True) as client:
        eventually(lambda: f"{keys.page} could not be stored" in log_text(client, run))
    objects.put_text(words_json([]), keys.words, {}, "application/json")
    assert job() == "made"
    assert "A title" in objects.text(keys.page, 1 << 20)


def log_text(client: SyncPrefectClient, run: UUID | None) -> str:
    """All messages that the run has logged so far."""
    only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]) if run else None)
    return "\n".join(log.message for log in client.read_logs(only))
