"""The ECS work pools: task definitions, machine sizes, and messages for missing settings."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_aws.workers.ecs_worker import ECSWorker
from pydantic import ValidationError

from deployments.local_stack import provision
from deployments.work_pools import PoolSettings, WorkPool, base_job_template, work_pools
from deployments.work_pools.__main__ import create
from deployments.work_pools.fewer_requests import server_variables
from deployments.work_pools.pools import COMMAND, flows_environment
from tests.programs import ROOT, PrefectServer, running

ACCOUNT = {
    "CLIPFLOW_IMAGE": "registry/clipflow:1",
    "CLIPFLOW_ECS_CLUSTER": "video",
    "CLIPFLOW_TASK_ROLE_ARN": "arn:aws:iam::1:role/flows",
    "CLIPFLOW_EXECUTION_ROLE_ARN": "arn:aws:iam::1:role/execution",
    "BUCKET_NAME": "media",
    "TABLE_NAME": "records",
}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in ACCOUNT.items():
        monkeypatch.setenv(name, value)
    return dict(ACCOUNT)


def pool(kind: str, environment: dict[str, str], gpu: bool = False) -> WorkPool:
    """The work pool of this kind, configured by the environment."""
    (found,) = [pool for pool in work_pools(gpu, environment) if pool.kind == kind]
    return found


def template(pool: WorkPool) -> dict[str, Any]:
    """The base job template of the pool."""
    default = ECSWorker.get_default_base_job_template()
    return base_job_template(pool, PoolSettings(), default, {"TABLE_NAME": "records"})


def defaults(pool: WorkPool) -> dict[str, Any]:
    """The default value of each variable of the pool's base job template."""
    properties = template(pool)["variables"]["properties"]
    return {name: schema.get("default") for name, schema in properties.items()}


def test_each_pool_has_its_own_role_if_one_is_set(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ("orchestrate", "media", "prepare", "marks")
    common = ACCOUNT["CLIPFLOW_TASK_ROLE_ARN"]
    assert [defaults(pool(kind, account))["task_role_arn"] for kind in kinds] == [common] * 4
    for kind in kinds[1:]:
        monkeypatch.setenv(f"CLIPFLOW_{kind.upper()}_ROLE_ARN", f"arn:aws:iam::1:role/{kind}")
    roles = [defaults(pool(kind, account))["task_role_arn"] for kind in kinds]
    assert roles == [common, *(f"arn:aws:iam::1:role/{kind}" for kind in kinds[1:])]


def test_with_a_collector_image_each_run_sends_traces_to_x_ray(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (container_without_collector,) = template(pool("media", account))["job_configuration"][
        "task_definition"
    ]["containerDefinitions"]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in defaults(pool("media", account))["env"]
    monkeypatch.setenv("CLIPFLOW_COLLECTOR_IMAGE", "registry/collector:1")
    run, collector = template(pool("media", account))["job_configuration"]["task_definition"][
        "containerDefinitions"
    ]
    assert run == container_without_collector
    assert (collector["image"], collector["essential"]) == ("registry/collector:1", False)
    endpoint = defaults(pool("media", account))["env"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert endpoint == "http://127.0.0.1:4318"


def test_an_image_for_preparing_videos_may_be_older_than_the_code(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then its machines execute Prefect's own command, which every image has."""
    commands = [defaults(pool(kind, account))["command"] for kind in ("media", "prepare")]
    assert commands == [COMMAND] * 2
    monkeypatch.setenv("CLIPFLOW_PREPARE_IMAGE", "registry/clipflow:0-whisperx")
    commands = [defaults(pool(kind, account))["command"] for kind in ("media", "prepare")]
    assert commands == [COMMAND, None]


def test_segments_are_cut_on_spot_and_rescheduled_when_interrupted(
    account: dict[str, str],
) -> None:
    media = pool("media", account)
    found = defaults(media)
    assert found["launch_type"] == "FARGATE_SPOT"
    assert found["env"]["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert found["env"]["TABLE_NAME"] == "records"
    assert (found["image"], found["cluster"]) == ("registry/clipflow:1", "video")
    assert found["cloudwatch_logs_options"] == {"awslogs-group": "clipflow"}
    definition = template(media)["job_configuration"]["task_definition"]
    assert definition["ephemeralStorage"] == {"sizeInGiB": "{{ storage_gib }}"}
    assert found["storage_gib"] == 50
    assert definition["containerDefinitions"][0]["stopTimeout"] == 120
    # The values of prefect-aws's own template are kept.
    assert definition["containerDefinitions"][0]["image"] == "{{ image }}"


def test_the_size_of_a_pool_is_configurable_by_the_environment(account: dict[str, str]) -> None:
    sizes = {"CLIPFLOW_MEDIA_CPU": "8192", "CLIPFLOW_MEDIA_MEMORY": "16384"}
    found = defaults(pool("media", {**account, **sizes}))
    assert (found["cpu"], found["memory"]) == (8192, 16384)


def test_a_size_that_fargate_does_not_have_is_refused(account: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="no machine of 4096 CPU units, 1024 MiB"):
        work_pools(False, {**account, "CLIPFLOW_MEDIA_MEMORY": "1024"})
    with pytest.raises(ValidationError, match="no machine of 256 CPU units, 1536 MiB"):
        work_pools(False, {**account, "CLIPFLOW_MARKS_CPU": "256", "CLIPFLOW_MARKS_MEMORY": "1536"})


def test_with_a_gpu_videos_are_prepared_on_instances_that_have_one(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPFLOW_GPU_CAPACITY_PROVIDER", "gpus")
    prepare = pool("prepare-gpu", account, gpu=True)
    assert prepare.name == "clipflow-prepare"
    assert defaults(prepare)["capacity_provider_strategy"][0]["capacityProvider"] == "gpus"
    definition = template(prepare)["job_configuration"]["task_definition"]
    assert definition["requiresCompatibilities"] == ["EC2"]
    (container,) = definition["containerDefinitions"]
    assert container["resourceRequirements"] == [{"type": "GPU", "value": "1"}]


def test_keys_of_models_come_from_a_secret_to_the_machines_that_need_them(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPFLOW_MODEL_KEYS_SECRET_ARN", "arn:aws:secretsmanager:::secret:keys")
    monkeypatch.setenv("CLIPFLOW_MODEL_KEYS", "OPENAI_API_KEY, HF_TOKEN")

    def secrets(kind: str) -> Any:
        definition = template(pool(kind, account))["job_configuration"]["task_definition"]
        return definition["containerDefinitions"][0].get("secrets")

    assert secrets("prepare") == [
        {"name": name, "valueFrom": f"arn:aws:secretsmanager:::secret:keys:{name}::"}
        for name in ("OPENAI_API_KEY", "HF_TOKEN")
    ]
    assert secrets("media") is secrets("orchestrate") is None


def test_flow_runs_get_all_settings_except_secrets_and_paths() -> None:
    settings = {
        "TABLE_NAME": "records",
        "MAX_PARALLEL_SEGMENTS": "3",
        "OPENAI_BASE_URL": "https://models",
    }
    excluded = {"HF_TOKEN": "hf", "HOME": "/", "CLIPFLOW_FFMPEG": "/opt/ffmpeg"}
    assert flows_environment({**settings, **excluded}) == settings


def create_local_pool(name: str) -> None:
    async def create_one() -> None:
        async with get_client() as client:
            await provision.create_work_pool(client, name)

    asyncio.run(create_one())


def create_ecs_pool(name: str) -> None:
    create(pool("media", ACCOUNT).model_copy(update={"name": name}), PoolSettings(), {})


@pytest.mark.slow
@pytest.mark.parametrize("deploy", [create_local_pool, create_ecs_pool])
def test_settings_of_an_operator_are_kept(
    deploy: Callable[[str], None], account: dict[str, str], prefect_server: PrefectServer
) -> None:
    name = deploy.__name__
    change = WorkPoolUpdate(is_paused=True, concurrency_limit=3)
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        deploy(name)
        with get_client(sync_client=True) as client:
            assert not client.read_work_pool(name).is_paused
            client.update_work_pool(name, change)
            deploy(name)
            found = client.read_work_pool(name)
    assert (found.is_paused, found.concurrency_limit) == (True, 3)


@pytest.mark.slow
@pytest.mark.parametrize("required", [False, True])
def test_runs_request_csrf_tokens_only_if_the_server_requires_them(
    required: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: dict[str, str]
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_CSRF_PROTECTION_ENABLED", str(required))
    server = PrefectServer(tmp_path)
    with running(server), temporary_settings({PREFECT_API_URL: server.url}):
        create(pool("media", account), PoolSettings(), server_variables())
        with get_client(sync_client=True) as client:
            template = client.read_work_pool("clipflow-media").base_job_template
    environment = template["variables"]["properties"]["env"]["default"]
    name = "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"
    assert environment.get(name) == (None if required else "false")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"CLIPFLOW_IMAGE": "", "TABLE_NAME": ""}, ["CLIPFLOW_IMAGE", "TABLE_NAME"]),
        ({"CLIPFLOW_SUBNETS": "subnet-1"}, ["CLIPFLOW_VPC_ID"]),
        ({"CLIPFLOW_MEDIA_CPU": "5000"}, ["no machine of 5000 CPU units"]),
    ],
)
def test_missing_outputs_are_reported_and_nothing_is_changed(
    change: dict[str, str], expected: list[str]
) -> None:
    done = run_check({**ACCOUNT, **change})
    assert done.returncode == 2
    assert all(name in done.stderr for name in expected)


@pytest.mark.slow
def test_pools_are_listed_when_no_output_is_missing() -> None:
    done = run_check(ACCOUNT)
    assert done.returncode == 0, done.stderr
    assert "clipflow-media: FARGATE_SPOT, 4096 CPU, 8192 MiB" in done.stdout


def run_check(environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "deployments.work_pools", "--check"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
