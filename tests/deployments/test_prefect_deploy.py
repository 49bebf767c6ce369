"""`prefect deploy` as Prefect's users type it: with nothing set but the server's address."""

import asyncio
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running
from prefect_aws.workers.ecs_worker import ECSWorker

from deployments.automations import RETIRED
from deployments.local_stack import provision
from deployments.work_pools import work_pools
from tests.programs import ROOT, PrefectServer, running

pytestmark = pytest.mark.slow

POOLS = {
    "begin-clip-generation/clipflow": "clipflow-orchestrate",
    "generate-clip/clipflow": "clipflow-orchestrate",
    "generate-shorts/clipflow": "clipflow-orchestrate",
    "prepare-video/clipflow": "clipflow-prepare",
    "transcribe-window/clipflow": "clipflow-media",
    "extract-segment/clipflow": "clipflow-media",
    "extract-segments/clipflow": "clipflow-media",
    "render-short/clipflow": "clipflow-media",
    "render-shorts/clipflow": "clipflow-media",
    "mark-failed/clipflow": "clipflow-marks",
}
# Prefixes of variables that would configure Prefect or clipflow.
CONFIGURATION_VARIABLES = re.compile(r"AWS_|CLIPFLOW_|PREFECT_|(BUCKET_NAME|TABLE_NAME)$")


async def _create_ecs_pools() -> None:
    async with get_client() as client:
        for pool in work_pools(gpu=False, environment={}):
            await client.create_work_pool(
                WorkPoolCreate(
                    name=pool.name,
                    type=ECSWorker.type,
                    base_job_template=ECSWorker.get_default_base_job_template(),
                ),
                overwrite=True,
            )


@pytest.fixture(params=["local", "ecs"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PrefectServer]:
    """A server with either the pools of `make up` or the ECS pools."""
    server = PrefectServer(tmp_path)
    with running(server):
        with temporary_settings({PREFECT_API_URL: server.url}):
            local = request.param == "local"
            asyncio.run(provision.create_work_pools() if local else _create_ecs_pools())
        yield server


def deploy(server: PrefectServer, *arguments: str) -> None:
    """Run `prefect deploy` in a terminal, and fail if it prompts for a value.

    Prefect prompts only in a terminal, for each value that `prefect.yaml` does not set.
    """
    env = {
        name: value for name, value in os.environ.items() if not CONFIGURATION_VARIABLES.match(name)
    }
    terminal, child_side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "deploy", *arguments],
        env={**env, "PREFECT_API_URL": server.url},
        cwd=ROOT,
        stdin=child_side,
        stdout=child_side,
        stderr=child_side,
    )
    os.close(child_side)
    output = b""
    try:
        # Linux reports the end of a terminal's last process as an error, macOS as no more bytes.
        with suppress(OSError):
            while chunk := os.read(terminal, 1 << 16):
                output += chunk
                assert b"[y/n" not in output, output.decode()
        assert process.wait(60) == 0, output.decode()
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def deployed(server: PrefectServer) -> dict[str, str]:
    """The work pool of each deployment on the server, by `flow/deployment`."""
    flows = {flow["id"]: flow["name"] for flow in server.post("/flows/filter", {}).json()}
    found = server.post("/deployments/filter", {}).json()
    return {f"{flows[d['flow_id']]}/{d['name']}": d["work_pool_name"] for d in found}


def states(server: PrefectServer) -> dict[str, tuple[str, str]]:
    """The deployment and the type of the state of each run on the server, by the run's id."""
    runs = server.post("/flow_runs/filter", {}).json()
    return {run["id"]: (run["deployment_id"], run["state_type"]) for run in runs}


def test_deploying_one_then_all_deployments_amid_a_hundred_runs(server: PrefectServer) -> None:
    deploy(server, "-n", "generate-clip/clipflow")
    assert deployed(server) == {"generate-clip/clipflow": "clipflow-orchestrate"}
    with temporary_settings({PREFECT_API_URL: server.url}), get_client(sync_client=True) as client:
        clip = client.read_deployment_by_name("generate-clip/clipflow").id
        for n in range(100):
            parameters = {"tenant_id": "t", "episode_id": "e", "clip_id": f"{n}"}
            run = client.create_flow_run_from_deployment(clip, parameters=parameters)
            if n % 2:  # The others are still scheduled.
                client.set_flow_run_state(run.id, Running(), force=True)
    before = states(server)
    deploy(server, "--all")
    assert deployed(server) == POOLS
    for deployment in server.post("/deployments/filter", {}).json():
        env = deployment["job_variables"]["env"]
        assert env == {"PREFECT__FLOW_ENTRYPOINT": deployment["entrypoint"]}
    assert len(before) == 100
    assert states(server) == before


@pytest.mark.parametrize("server", ["local"], indirect=True)
def test_automations_of_earlier_releases_are_removed(server: PrefectServer) -> None:
    """They would end runs whose heartbeats could not arrive, which the bridge does not."""
    trigger = {"type": "event", "posture": "Reactive", "expect": ["none"], "threshold": 1}
    for name in [*RETIRED, "theirs"]:
        automation = {
            "name": name,
            "trigger": {**trigger, "within": 0},
            "actions": [{"type": "do-nothing"}],
        }
        server.post("/automations/", automation)
    with temporary_settings({PREFECT_API_URL: server.url}):
        asyncio.run(provision.create_work_pools())
    names = [found["name"] for found in server.post("/automations/filter", {}).json()]
    assert "theirs" in names
    assert not {*RETIRED} & {*names}
