"""The number of concurrent encoders is limited per machine, across runs and work queues."""

import time
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from clipflow.machine import cores
from deployments.local_stack import RunningStack
from tasks.dispatch import BULK_QUEUE
from tests.faults.processes import processes_of
from tests.faults.tenants import COMPLETE, FAILED, Episode, Tenants
from tests.made_media import make_source
from tests.programs import eventually

pytestmark = [pytest.mark.slow]

# Encoding takes long enough for the runs to overlap, although their processes start in sequence.
SEGMENTS = [{"startTime": n, "endTime": n + 10} for n in range(8)]


def start_clip(episode: Episode, clip: str, queue: str | None) -> UUID:
    parameters = {"tenant_id": episode.tenant, "episode_id": episode.id, "clip_id": clip}
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("generate-clip/clipflow")
        return client.create_flow_run_from_deployment(
            deployment.id, parameters=parameters, work_queue_name=queue
        ).id


def read(run_id: UUID) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run_id)


def encoders(home: Path) -> int:
    """The number of ffmpeg processes of the stack that encode video; stitching only copies it."""
    return sum(" libx264 " in command for command in processes_of(home).values())


def test_four_runs_at_once_have_no_more_encoders_than_cores(
    stack: RunningStack, tmp_path: Path
) -> None:
    source = make_source(tmp_path / "main.mp4", size=(640, 360), seconds=18, sound=("-c:a", "aac"))
    clips = [f"clip-{n}" for n in range(4)]
    with (
        closing(Tenants(stack)) as tenants,
        temporary_settings({PREFECT_API_URL: stack.env["PREFECT_API_URL"]}),
    ):
        episode = tenants.detect(Episode("fan-out", clips), source, SEGMENTS)
        queues = [None, BULK_QUEUE, None, BULK_QUEUE]
        run_ids = [start_clip(episode, *each) for each in zip(clips, queues, strict=True)]
        counts = [0]
        statuses = [""]
        while not all(status in (COMPLETE, FAILED) for status in statuses):
            for _ in range(20):
                counts.append(encoders(stack.settings.home))
                time.sleep(0.02)
            statuses = [tenants.record(episode, clip)["status"] for clip in clips]
        # Prefect learns of the end of a run after its record.
        eventually(lambda: all(read(run_id).end_time for run_id in run_ids))
        runs = [read(run_id) for run_id in run_ids]
    assert statuses == [COMPLETE] * 4
    began = [run.start_time for run in runs if run.start_time]
    ended = [run.end_time for run in runs if run.end_time]
    # The count is meaningful only if all four runs overlapped.
    assert len(began) == len(ended) == 4 and max(began) < min(ended)
    assert max(counts) == cores()
