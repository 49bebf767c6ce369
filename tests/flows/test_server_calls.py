"""How many requests a run takes, counted at the Prefect server: those of the worker that starts it,
and those of its own process.

A core of the server handles about a hundred requests a second, and is the first limit of a large
installation (docs/scale.md). The events of a run and of its steps are sent over a websocket and
are not counted, nor is what many runs share: the polls of the pools, and log lines.
"""

import asyncio
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
)
from prefect.client.schemas.objects import Artifact
from prefect.logging.handlers import APILogHandler
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    temporary_settings,
)

from clipflow.domain.clips import ClipRequest
from clipflow.jobs.clips import CutGroup
from clipflow.storage.objects import object_store
from deployments.run_environment import run_environment
from deployments.work_pools import warm
from deployments.work_pools.pools import COMMAND
from tasks.child_requests import extract_child
from tasks.clips import find_sources, plan
from tasks.flow_runs import tags_of
from tests.deployments.test_fewer_requests import Worker, submitted
from tests.flows.conftest import Episode
from tests.programs import ROOT, PrefectServer

pytestmark = [pytest.mark.slow, pytest.mark.services]

DEPLOYMENTS = {
    each["entrypoint"].rpartition(":")[2]: each
    for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
}
# The worker reports that a run is pending, and stores where its process is. Prefect's engine reads
# the run when it starts, when it begins to observe whether the run is suspended, and when it is
# running; it stores the flow's version, and reports two states.
OF_EACH_RUN = Counter(
    {
        "POST /deployments/{id}/create_flow_run": 1,
        "GET /flow_runs/{id}": 3,
        "PATCH /flow_runs/{id}": 2,
        "POST /flow_runs/{id}/set_state": 3,
    }
)
# Log lines, progress bars, polls, and what a worker reads once and remembers.
SHARED = re.compile(r"/logs/|PATCH /artifacts/|/work_pools/|GET /(deployments|flows)/{id}")
# On warm machines and in the local stack, and on machines of ECS.
ENGINE, ON_ECS = (
    command.replace("python", sys.executable, 1) for command in (warm.COMMAND, COMMAND)
)
SEGMENTS = [{"startTime": 1, "endTime": 3}, {"startTime": 5, "endTime": 7}]


@pytest.fixture
def server(prefect_server: PrefectServer) -> Iterator[PrefectServer]:
    # As in the local stack, and as `make deploy` sets it for a server that requires no tokens.
    without_tokens = {
        PREFECT_API_URL: prefect_server.url,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
        PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,
    }
    with temporary_settings(without_tokens):
        yield prefect_server


def deploy(flow: str, name: str = "clipflow") -> UUID:
    """Create the deployment of `flow` in prefect.yaml, as `prefect deploy` does."""
    deployment = DEPLOYMENTS[flow]
    with get_client(sync_client=True) as client:
        return client.create_deployment(
            client.create_flow_from_name(flow.replace("_", "-")),
            name,
            entrypoint=deployment["entrypoint"],
            job_variables=deployment["work_pool"]["job_variables"],
            pull_steps=[],
        )


def requests_of(
    flow: str, server: PrefectServer, episode: Episode, parameters: dict[str, Any], command: str
) -> Counter[str]:
    """Start a run of `flow`, and let a worker execute it by `command`; returns all requests."""
    # Of its own: the process of an event also starts other pending runs of its deployment.
    deployment, pool = deploy(flow, "counted"), f"counted-{uuid4().hex}"
    env = {**run_environment(os.environ), **DEPLOYMENTS[flow]["work_pool"]["job_variables"]["env"]}
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        client.update_deployment(deployment, DeploymentUpdate(work_pool_name=pool))
        APILogHandler().flush()
        before = len(server.requests())
        run = client.create_flow_run_from_deployment(
            deployment,
            parameters=parameters,
            name=episode.keys.clip_id,
            tags=tags_of(episode.keys),
            labels={"__OTEL_TRACEPARENT": f"00-{uuid4().hex}-{uuid4().hex[:16]}-01"},
            job_variables={"env": env, "command": command, "working_dir": str(ROOT)},
        )
    asyncio.run(execute(pool))
    counts = Counter(server.requests()[before:])
    # The number of these depends on how long the run takes: log lines are sent every two seconds,
    # and work of two seconds gets a progress bar. A worker starts many runs.
    counts -= Counter({"POST /artifacts/": len(progress_bars(run.id))})
    return Counter({each: count for each, count in counts.items() if not SHARED.search(each)})


async def execute(pool: str) -> None:
    """Execute the runs of the pool that are scheduled."""
    worker = Worker(work_pool_name=pool, limit=1)
    async with worker:
        await submitted(worker, 1)


def progress_bars(run: UUID) -> list[Artifact]:
    only = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run]), type=ArtifactFilterType(any_=["progress"])
    )
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=only)


def test_a_clip_that_is_made_in_place_takes_twelve_requests(
    server: PrefectServer, episode: Episode
) -> None:
    episode.detect(*SEGMENTS)
    made = requests_of("generate_clip", server, episode, parameters(episode), ENGINE)
    assert episode.record["status"] == "Generation Complete"
    # The run's tables and pictures are two artifacts. The end of a clip may let another one begin.
    assert made == OF_EACH_RUN + Counter({"POST /artifacts/": 2, "POST /flow_runs/filter": 1})
    assert made.total() == 12


def test_a_group_of_segments_on_a_machine_takes_ten_requests(
    server: PrefectServer, episode: Episode
) -> None:
    """Of its parent, there are at most two more: the step that waits for it, and its result."""
    clip = ClipRequest.read({"clipId": episode.keys.clip_id, "segments": SEGMENTS}, "the clip")
    cuts = plan.fn(find_sources.fn(episode.keys, clip))
    child = extract_child(CutGroup(tuple(cuts)), force=False)
    made = requests_of("extract_segments", server, episode, child.parameters, ON_ECS)
    assert object_store().head(episode.keys.segment(1)) is not None
    assert made == OF_EACH_RUN + Counter({"GET /flow_runs/{id}": 1})
    assert made.total() == 10


def test_an_event_of_one_clip_takes_fifteen_requests(
    server: PrefectServer, episode: Episode
) -> None:
    deploy("generate_clip")
    ids = {"tenant_id": episode.keys.tenant_id, "episode_id": episode.keys.episode_id}
    clips = [{"clipId": episode.keys.clip_id}]
    made = requests_of("begin_clip_generation", server, episode, {**ids, "clips": clips}, ENGINE)
    assert made == OF_EACH_RUN + Counter(
        {
            "PATCH /flow_runs/{id}": 1,  # its name
            "GET /deployments/name/generate-clip/clipflow": 1,
            "POST /flow_runs/filter": 2,  # the tenant's active clips, and other pending events
            "POST /deployments/{id}/create_flow_run": 1,
            "POST /artifacts/": 1,
        }
    )


def parameters(episode: Episode) -> dict[str, Any]:
    keys = episode.keys
    return {
        "tenant_id": keys.tenant_id,
        "episode_id": keys.episode_id,
        "clip_id": keys.clip_id,
    }
