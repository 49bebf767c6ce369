"""A clip that fails on a playlist with presigned URLs: no output shows a URL or a credential."""

import json
import logging
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import State
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings

from clipflow.domain.keys import ClipKeys
from clipflow.settings import settings
from clipflow.storage import aws
from clipflow.storage.records import RecordStore
from flows.generate_clip import generate_clip
from tests.flows.conftest import stored_task_runs
from tests.programs import PrefectServer

pytestmark = pytest.mark.slow

SECRET_KEY = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEXAMPLETOKEN"
SECRETS = re.compile(f"X-Amz-(Signature|Credential)=|Signature=[0-9a-f]|{SECRET_KEY}|{TOKEN}", re.I)
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:8\n#EXTINF:8,\n{}\n#EXT-X-ENDLIST\n"


@pytest.fixture
def with_credentials(storage: None, prefect_server: PrefectServer) -> Iterator[None]:
    """Set credentials that can be found in any output."""
    with (
        temporary_settings({PREFECT_API_URL: prefect_server.url}),
        pytest.MonkeyPatch.context() as p,
    ):
        p.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        p.setenv("AWS_SESSION_TOKEN", TOKEN)
        clear_caches()
        yield
    clear_caches()


def clear_caches() -> None:
    for cached in (settings, aws.s3_client, aws.records_table, aws.events_client):
        cached.cache_clear()


def shown_by_prefect(run_id: Any) -> str:
    """All that the server shows of a run and its tasks: parameters, states, logs, artifacts."""
    APILogHandler().flush()
    only = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run_id)
        tasks = stored_task_runs(str(run_id), {"Set Failed"})
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(), flow_run_filter=only)
    shown = [*tasks, *logs, *artifacts, run]
    return json.dumps([one.model_dump(mode="json") for one in shown])


@pytest.mark.parametrize(
    ("chunk", "content"),
    [("0.ts", None), ("0.ts", b"no media at all " * 99), ("0.ts", b"G" + b"\0" * 187)],
    ids=["missing", "text", "broken"],
)
def test_a_failure_shows_no_secret(
    with_credentials: None,
    records: RecordStore,
    chunk: str,
    content: bytes | None,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    caplog.set_level(logging.DEBUG, "clipflow")
    keys = ClipKeys("t", f"secrets-{request.node.callspec.id}", "c")
    folder = f"{keys.episode_id}/hls"
    bucket = settings().bucket_name
    put = aws.s3_client().put_object
    put(Bucket=bucket, Key=f"{folder}/index.m3u8", Body=PLAYLIST.format(chunk).encode())
    if content is not None:
        put(Bucket=bucket, Key=f"{folder}/{chunk}", Body=content)
    segments = [{"startTime": 0, "endTime": 1}]
    item = {**keys.record, "status": "detected", "segments": segments}
    records.table.put_item(Item={**item, "sourceKey": f"{folder}/index.m3u8"})

    state: State[Any] = generate_clip(
        keys.tenant_id, keys.episode_id, keys.clip_id, return_state=True
    )

    assert state.is_failed()
    record = records.table.get_item(Key=keys.record, ConsistentRead=True)["Item"]
    error = cast("dict[str, str]", record["processingError"])
    assert record["status"] == "Generation Failed"
    assert error["message"]
    out, err = capfd.readouterr()
    outputs = {
        "record": json.dumps(record, default=str),
        "Prefect": shown_by_prefect(state.state_details.flow_run_id),
        "log": caplog.text,
        "output": out + err,
        "state": repr(state),
    }
    assert folder in outputs["record"] + outputs["Prefect"]
    assert {where: SECRETS.findall(text) for where, text in outputs.items()} == {
        where: [] for where in outputs
    }


def test_the_search_finds_a_presigned_url(with_credentials: None) -> None:
    address = aws.s3_client().generate_presigned_url(
        "get_object", Params={"Bucket": "b", "Key": "k"}
    )
    assert SECRETS.search(address)
