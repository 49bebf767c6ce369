"""A deploy of a new image while clips are requested and made, in the steps of `make deploy`, and
with two bridges at once."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolUpdate

from clipflow.domain.clips import BeginClipGeneration
from clipflow.domain.events import put_events_entry
from clipflow.domain.keys import ClipKeys
from clipflow.storage import aws
from clipflow.storage.records import record_store
from tests.ecs.conftest import command
from tests.ecs.ecs_task import Task
from tests.ecs.machines import Machines
from tests.ecs.test_clips import MADE, seconds
from tests.faults.scale import SCALE
from tests.programs import Program, eventually, running

pytestmark = [pytest.mark.ecs, pytest.mark.slow]

NEW_IMAGE = "clipflow:2"
CLIPS = ["one", "two"]
# Runs of a pool at once, so that many wait while the deploy changes what they will run on.
LIMIT = 2
LIMITS = {"CLIPFLOW_ORCHESTRATE_LIMIT": f"{LIMIT}", "CLIPFLOW_MEDIA_LIMIT": f"{LIMIT}"}
# The longest time for a clip: most of it is the start of two processes.
SECONDS_A_CLIP = 60


@pytest.fixture
def bridge(machines: Machines, tmp_path: Path) -> Iterator[Program]:
    """One of two bridges that run at once, which the service avoids but does no harm."""
    bridges = [
        Program(tmp_path / f"bridge-{n}.log", "deployments.bridge", dict(machines.environment))
        for n in range(2)
    ]
    with running(bridges[0]), running(bridges[1]):
        yield bridges[0]


@pytest.fixture
def environment(machines: Machines) -> Iterator[dict[str, str]]:
    """The environment of a deploy that limits the pools. After the test they are as before."""
    deployed = {**machines.environment, **LIMITS}
    command("deployments.work_pools", deployed)
    yield deployed
    with get_client(sync_client=True) as client:
        for pool in ("orchestrate", "media"):
            client.update_work_pool(f"clipflow-{pool}", WorkPoolUpdate(concurrency_limit=None))
    command("deployments.work_pools", dict(machines.environment))


def request_clips(sample: Path, bucket: str) -> list[ClipKeys]:
    """Send the event that requests the clips of a new episode; returns their keys."""
    episode = f"episode-{uuid4().hex[:8]}"
    aws.s3_client().upload_file(str(sample), bucket, f"{episode}/tracks/main.mp4")
    clips = [{"clipId": clip, "segments": seconds(1)} for clip in CLIPS]
    detail = {"tenantId": "t", "episodeId": episode, "clips": clips}
    entry = put_events_entry(BeginClipGeneration.model_validate(detail))
    aws.events_client().put_events(Entries=[entry])  # type: ignore[list-item]
    return [ClipKeys("t", episode, clip) for clip in CLIPS]


def history(keys: ClipKeys) -> list[str]:
    """The statuses in the history of the record, in order; empty without a record."""
    key = {"Key": keys.record, "ConsistentRead": True}
    item: Any = record_store().table.get_item(**key).get("Item", {})  # type: ignore[arg-type]
    return [entry["status"] for entry in item.get("statusHistory", [])]


def image(task: Task) -> str:
    return str(task.definition["containerDefinitions"][0]["image"])


def test_clips_requested_before_and_during_a_deploy_are_made_once(
    machines: Machines, bridge: Program, environment: dict[str, str], sample: Path
) -> None:
    ecs, bucket = machines.ecs, machines.objects.bucket
    ecs.images[NEW_IMAGE] = ecs.images["clipflow:test"]
    events = SCALE.events_around_a_deploy
    with machines.paused_ffmpeg():
        clips = [keys for _ in range(events // 2) for keys in request_clips(sample, bucket)]
        machines.running_tasks("extract-segment", min(LIMIT, len(clips)))
        with ThreadPoolExecutor(1) as deploying:
            deployed = deploying.submit(
                command, "deployments.work_pools", {**environment, "CLIPFLOW_IMAGE": NEW_IMAGE}
            )
            for _ in range(events - events // 2):
                clips += request_clips(sample, bucket)
            deployed.result()
        # As ECS replaces the tasks of the services.
        bridge.stop()
        for worker in machines.workers.values():
            worker.stop(signal.SIGKILL)
        before = list(ecs.tasks.values())
        for program in (*machines.workers.values(), bridge):
            program.start()
    whole = MADE[1:]
    eventually(lambda: all(history(keys) == whole for keys in clips), SECONDS_A_CLIP * len(clips))
    eventually(lambda: not ecs.running())

    tasks = list(ecs.tasks.values())
    started = {flow: len(ecs.of(flow)) for flow in ("generate-clip", "extract-segment")}
    assert started == dict.fromkeys(started, len(clips))
    assert {machines.state_of(task) for task in tasks} == {"Completed"}
    assert {image(task) for task in before} >= {"clipflow:test"}
    assert {image(task) for task in tasks[len(before) :]} == {NEW_IMAGE}
