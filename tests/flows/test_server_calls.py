"""How many requests a run's process sends to the Prefect server, counted at the server.

A core of the server handles about a hundred requests a second, and is the first limit of a large
installation (docs/scale.md). The events of a run and of its steps are sent over a websocket and
are not counted. Two or three more start a run, and a worker sends four to seven for it, as it
remembers deployments for some seconds. On ECS there are also a CSRF token for each client, those of
`prefect flow-run execute`, and one of the observer: all together about 31 for each run.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
)
from prefect.client.schemas.objects import Artifact
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending

from clipflow.domain.clips import ClipRequest
from clipflow.jobs.clips import CutGroup
from clipflow.storage.objects import object_store
from deployments.run_environment import run_environment
from tasks.child_requests import extract_child
from tasks.clips import find_sources, plan
from tasks.flow_runs import tags_of
from tests.flows.conftest import Episode
from tests.programs import ROOT, PrefectServer

pytestmark = [pytest.mark.slow, pytest.mark.services]

DEPLOYMENTS = {
    each["entrypoint"].rpartition(":")[2]: each
    for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
}
# Prefect's engine reads the run when it starts, when it begins to observe whether the run is
# suspended, and when it is running; it stores the flow's version, and reports two states.
OF_EACH_RUN = {
    "GET /flow_runs/{id}": 3,
    "PATCH /flow_runs/{id}": 1,
    "POST /flow_runs/{id}/set_state": 2,
}
UPDATE = "PATCH /artifacts/{id}"
SEGMENTS = [{"startTime": 1, "endTime": 3}, {"startTime": 5, "endTime": 7}]


@pytest.fixture
def server(prefect_server: PrefectServer) -> Iterator[PrefectServer]:
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
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
    flow: str, server: PrefectServer, episode: Episode, parameters: dict[str, Any]
) -> Counter[str]:
    """Execute a run of `flow` in a process of its own, as a worker does; returns its requests."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(
            # Of its own: the process of an event also starts other pending runs of its deployment.
            deploy(flow, "counted"),
            parameters=parameters,
            name=episode.keys.clip_id,
            tags=tags_of(episode.keys),
            labels={"__OTEL_TRACEPARENT": f"00-{uuid4().hex}-{uuid4().hex[:16]}-01"},
        )
        client.set_flow_run_state(run.id, Pending())
    env = {
        **os.environ,
        **run_environment(os.environ),
        **DEPLOYMENTS[flow]["work_pool"]["job_variables"]["env"],
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT__FLOW_RUN_ID": str(run.id),
        # As in the local stack.
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    }
    APILogHandler().flush()
    before = len(server.requests())
    subprocess.run([sys.executable, "-m", "prefect.engine"], env=env, cwd=ROOT, check=True)
    counts = Counter(server.requests()[before:])
    # The number of these depends on how long the run takes: log lines are sent every two seconds,
    # and work of two seconds gets a progress bar.
    del counts["POST /logs/"]
    counts["POST /artifacts/"] -= len(progress_bars(run.id))
    return +Counter({request: count for request, count in counts.items() if request != UPDATE})


def progress_bars(run: UUID) -> list[Artifact]:
    only = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run]), type=ArtifactFilterType(any_=["progress"])
    )
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=only)


def test_a_clip_that_is_made_in_place_takes_nine_requests(
    server: PrefectServer, episode: Episode
) -> None:
    """With its log lines, these are at most twelve for a clip that is made in two seconds."""
    episode.detect(*SEGMENTS)
    made = requests_of("generate_clip", server, episode, parameters(episode))
    assert episode.record["status"] == "Generation Complete"
    # The run's tables and pictures are two artifacts.
    assert made == {**OF_EACH_RUN, "POST /artifacts/": 2, "POST /flow_runs/filter": 1}


def test_a_group_of_segments_takes_six_requests(server: PrefectServer, episode: Episode) -> None:
    clip = ClipRequest.read({"clipId": episode.keys.clip_id, "segments": SEGMENTS}, "the clip")
    cuts = plan.fn(find_sources.fn(episode.keys, clip))
    child = extract_child(CutGroup(tuple(cuts)), force=False)
    made = requests_of("extract_segments", server, episode, child.parameters)
    assert object_store().head(episode.keys.segment(1)) is not None
    assert made == OF_EACH_RUN


def test_an_event_of_one_clip_takes_twelve_requests(
    server: PrefectServer, episode: Episode
) -> None:
    deploy("generate_clip")
    ids = {"tenant_id": episode.keys.tenant_id, "episode_id": episode.keys.episode_id}
    clips = [{"clipId": episode.keys.clip_id}]
    made = requests_of("begin_clip_generation", server, episode, {**ids, "clips": clips})
    assert made == {
        **OF_EACH_RUN,
        "PATCH /flow_runs/{id}": 2,  # also its name
        "GET /deployments/name/generate-clip/clipflow": 1,
        "POST /flow_runs/filter": 2,  # the tenant's active clips, and other pending events
        "POST /deployments/{id}/create_flow_run": 1,
        "POST /artifacts/": 1,
    }


def parameters(episode: Episode) -> dict[str, Any]:
    keys = episode.keys
    return {
        "tenant_id": keys.tenant_id,
        "episode_id": keys.episode_id,
        "clip_id": keys.clip_id,
    }
