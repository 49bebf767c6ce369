"""The pools of many machines: what their tasks are, and what is said where something is missing."""

import os
import subprocess
import sys
from typing import Any

import pytest
from prefect_aws.workers.ecs_worker import ECSWorker
from pydantic import ValidationError

from deployments.work_pools import PoolSettings, WorkPool, base_job_template, work_pools
from deployments.work_pools.environment import flows_environment
from tests.programs import ROOT

ACCOUNT = {
    "CLIPFLOW_IMAGE": "registry/clipflow:1",
    "CLIPFLOW_ECS_CLUSTER": "video",
    "CLIPFLOW_TASK_ROLE_ARN": "arn:aws:iam::1:role/flows",
    "CLIPFLOW_EXECUTION_ROLE_ARN": "arn:aws:iam::1:role/execution",
    "BUCKET_NAME": "media",
    "TABLE_NAME": "records",
    "CLIPFLOW_ORCHESTRATE_WORK_POOL": "orchestrate",
    "CLIPFLOW_MEDIA_WORK_POOL": "media",
    "CLIPFLOW_PREPARE_WORK_POOL": "prepare",
    "CLIPFLOW_MARKS_WORK_POOL": "marks",
}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in ACCOUNT.items():
        monkeypatch.setenv(name, value)
    return dict(ACCOUNT)


def pool(kind: str, environment: dict[str, str], gpu: bool = False) -> WorkPool:
    (found,) = [pool for pool in work_pools(gpu, environment) if pool.kind == kind]
    return found


def template(asked: WorkPool) -> dict[str, Any]:
    default = ECSWorker.get_default_base_job_template()
    return base_job_template(asked, PoolSettings(), default, {"TABLE_NAME": "records"})


def defaults(asked: WorkPool) -> dict[str, Any]:
    properties = template(asked)["variables"]["properties"]
    return {name: told.get("default") for name, told in properties.items()}


def test_segments_are_cut_on_spot_and_told_to_leave_are_scheduled_again(
    account: dict[str, str],
) -> None:
    media = pool("media", account)
    told = defaults(media)
    assert told["launch_type"] == "FARGATE_SPOT"
    assert told["env"]["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert told["env"]["TABLE_NAME"] == "records"
    assert (told["image"], told["cluster"]) == ("registry/clipflow:1", "video")
    assert told["cloudwatch_logs_options"] == {"awslogs-group": "clipflow"}
    definition = template(media)["job_configuration"]["task_definition"]
    assert definition["ephemeralStorage"] == {"sizeInGiB": 50}
    assert definition["containerDefinitions"][0]["stopTimeout"] == 120
    # What prefect-aws put there is still there.
    assert definition["containerDefinitions"][0]["image"] == "{{ image }}"


def test_the_environment_sizes_a_pool(account: dict[str, str]) -> None:
    sizes = {"CLIPFLOW_MEDIA_CPU": "8192", "CLIPFLOW_MEDIA_MEMORY": "16384"}
    told = defaults(pool("media", {**account, **sizes}))
    assert (told["cpu"], told["memory"]) == (8192, 16384)


def test_a_size_that_fargate_does_not_have_is_refused(account: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="no machine of 4096 CPU units, 1024 MiB"):
        work_pools(False, {**account, "CLIPFLOW_MEDIA_MEMORY": "1024"})


def test_with_a_gpu_videos_are_prepared_on_instances_that_have_one(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPFLOW_GPU_CAPACITY_PROVIDER", "gpus")
    prepare = pool("prepare-gpu", account, gpu=True)
    assert prepare.name == "prepare"
    assert defaults(prepare)["capacity_provider_strategy"][0]["capacityProvider"] == "gpus"
    definition = template(prepare)["job_configuration"]["task_definition"]
    assert definition["requiresCompatibilities"] == ["EC2"]
    (container,) = definition["containerDefinitions"]
    assert container["resourceRequirements"] == [{"type": "GPU", "value": "1"}]


def test_the_flows_are_told_what_they_can_be_told_but_no_secret_and_no_path_of_ours() -> None:
    told = {"TABLE_NAME": "records", "MAX_PARALLEL_SEGMENTS": "3"}
    ours = {"HF_TOKEN": "hf", "HOME": "/", "CLIPFLOW_FFMPEG": "/opt/ffmpeg"}
    assert flows_environment({**told, **ours}) == told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"CLIPFLOW_IMAGE": "", "TABLE_NAME": ""}, ["CLIPFLOW_IMAGE", "TABLE_NAME"]),
        ({"CLIPFLOW_MEDIA_WORK_POOL": ""}, ["CLIPFLOW_MEDIA_WORK_POOL"]),
        ({"CLIPFLOW_WORK_POOL": "one"}, ["CLIPFLOW_WORK_POOL"]),
        ({"CLIPFLOW_SUBNETS": "subnet-1"}, ["CLIPFLOW_VPC_ID"]),
        ({"CLIPFLOW_MEDIA_CPU": "5000"}, ["no machine of 5000 CPU units"]),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_changed(
    change: dict[str, str], says: list[str]
) -> None:
    done = check({**ACCOUNT, **change})
    assert done.returncode == 2
    assert all(name in done.stderr for name in says)


@pytest.mark.slow
def test_where_nothing_is_missing_the_pools_are_listed() -> None:
    done = check(ACCOUNT)
    assert done.returncode == 0, done.stderr
    assert "media: FARGATE_SPOT, 4096 CPU, 8192 MiB" in done.stdout


def check(environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "deployments.work_pools", "--check"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
