"""Runs while no Prefect server answers, for longer than its client's own retries last."""

import json
import signal
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, State

from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.storage.records import plain
from deployments.local_stack.stack_settings import BUCKET
from tasks.child_requests import record_tag
from tests.faults.observers import ObjectObserver, observing
from tests.faults.tenants import COMPLETE, MADE, Episode, Tenants, history
from tests.faults.unsupervised import LONG, UnsupervisedMachine, client_of, start_clip
from tests.flows.warehouse import CONFIG, subtitles
from tests.made_media import make_source
from tests.programs import eventually

pytestmark = [pytest.mark.faults, pytest.mark.slow]

# How long Prefect is away: longer than its client's own retries last, and than a run may be silent.
AWAY_SECONDS = 100
# The longest wait of a client, and the start of the server.
REPORTED_SECONDS = 120
VIDEO = ShortsKeys("u", "talk", "klippers_warehouse")


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of 25 seconds for shorts."""
    path = tmp_path_factory.mktemp("talk") / "original.mp4"
    return make_source(path, seconds=25, sound=("-c:a", "aac"), clicks=True)


def test_runs_continue_while_prefect_is_away_and_report_afterwards(
    machine: UnsupervisedMachine, tenants: Tenants, source: Path, talk: Path
) -> None:
    """A clip's run works in its own process, one waits for child runs, and one renders shorts."""
    parent = tenants.detect(Episode("t", ["long"]), source, LONG)
    allow_three_runs(machine)
    with client_of(machine) as client:
        shorts = start_shorts(client, tenants, talk)
        eventually(lambda: names(tenants, "segment_1.mp4"))
        alone, _ = start_clip(machine, tenants, source, LONG * 3)
        local = UUID(tenants.record(alone, "long")["flowRunId"])
        # Last, because its child runs end after a few seconds.
        remote = start_with_children(client, parent)
        children = eventually(lambda: running_children(client, parent))
    reader = ObjectObserver(tenants)
    with observing(reader.check, reader, 1):
        machine.prefect.stop(signal.SIGKILL)
        away_until = time.monotonic() + AWAY_SECONDS
        eventually(lambda: tenants.record(alone, "long")["status"] == COMPLETE, 300)
        eventually(lambda: shorts_record(tenants)["status"] == COMPLETE, 300)
        eventually(lambda: time.monotonic() > away_until, AWAY_SECONDS + 1)
        machine.prefect.start()
        eventually(lambda: tenants.record(parent, "long")["status"] == COMPLETE, REPORTED_SECONDS)
        with client_of(machine) as client:
            runs = [local, remote, shorts, *children]
            for run in runs:
                eventually(lambda run=run: last_state(client, run).is_final(), REPORTED_SECONDS)  # type: ignore[misc]
            assert {last_state(client, run).name for run in runs} == {"Completed"}
    reader.check()
    for episode in (alone, parent):
        assert history(tenants.record(episode, "long")) == MADE
        keys = [entry["Key"] for entry in tenants.objects(episode)]
        assert [len(reader.versions[key]) for key in keys] == [1] * len(keys)
    assert history(shorts_record(tenants)) == MADE[1:]
    made = names(tenants, "_stacked.mp4")
    assert [len(reader.versions[key]) for key in made] == [1] * CONFIG["segment_count"]


def allow_three_runs(machine: UnsupervisedMachine) -> None:
    """Let the three runs of this test be in progress at once, on any number of cores."""
    queue = "/api/work_pools/clipflow-orchestrate/queues/media"
    url = f"{machine.stack.settings.prefect_url}{queue}"
    httpx.patch(url, json={"concurrency_limit": 3}).raise_for_status()


def start_shorts(client: SyncPrefectClient, tenants: Tenants, talk: Path) -> UUID:
    """Start a run that renders shorts in its own process, one after the other."""
    tenants.s3.upload_file(str(talk), BUCKET, VIDEO.original)
    for key, text in ((VIDEO.subtitles, subtitles()), (VIDEO.config, json.dumps(CONFIG))):
        tenants.s3.put_object(Bucket=BUCKET, Key=key, Body=text.encode())
    return client.create_flow_run_from_deployment(
        client.read_deployment_by_name("generate-shorts/clipflow").id,
        parameters={"user_id": VIDEO.user_id, "video_id": VIDEO.video_id},
        job_variables={"env": {"MAX_PARALLEL_SEGMENTS": "1"}},
    ).id


def shorts_record(tenants: Tenants) -> dict[str, Any]:
    item = tenants.table.get_item(Key=VIDEO.record, ConsistentRead=True)["Item"]
    return dict(plain(item))


def names(tenants: Tenants, ending: str) -> list[str]:
    """The keys of the video's objects with this ending."""
    listed = tenants.s3.list_objects_v2(Bucket=BUCKET, Prefix=VIDEO.folder).get("Contents", [])
    return [entry["Key"] for entry in listed if entry["Key"].endswith(ending)]


def last_state(client: SyncPrefectClient, run: UUID) -> State[object]:
    state = client.read_flow_run(run).state
    assert state
    return state


def start_with_children(client: SyncPrefectClient, episode: Episode) -> UUID:
    """Start the run of the episode's only clip, whose segments are cut by two runs of their own."""
    deployment = client.read_deployment_by_name("generate-clip/clipflow").id
    remotely = {
        "CLIPFLOW_FAN_OUT": "remote",
        "CLIPFLOW_MACHINE_CPU_SECONDS": "1",
        "MAX_PARALLEL_SEGMENTS": "2",
    }
    return client.create_flow_run_from_deployment(
        deployment,
        parameters={"tenant_id": "t", "episode_id": episode.id, "clip_id": "long"},
        job_variables={"env": remotely},
    ).id


def running_children(client: SyncPrefectClient, episode: Episode) -> list[UUID]:
    """The child runs of the episode's only clip that are running."""
    tags = FlowRunFilterTags(all_=[record_tag(ClipKeys("t", episode.id, "long"))])
    runs: list[FlowRun] = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tags))
    return [run.id for run in runs if run.state and run.state.is_running()]
