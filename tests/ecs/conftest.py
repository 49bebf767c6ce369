"""Fixtures: a simulated ECS cluster with the real ECS workers and observer of prefect-aws."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

import boto3
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from clipflow.settings import settings
from clipflow.storage import aws
from clipflow.storage.objects import object_store
from clipflow.storage.records import record_store
from deployments.local_stack import provision
from deployments.local_stack.stack_settings import BUCKET, TABLE
from tests.ecs.ecs_service import EcsService, serving
from tests.ecs.ecs_task import ACCOUNT
from tests.ecs.machines import Machines, pausable_ffmpeg
from tests.flows.conftest import Episode
from tests.made_media import make_source
from tests.postgres import postgres, programs
from tests.programs import AWS, ROOT, PrefectServer, Program, free_port, running

WORKERS = ("orchestrate", "media", "prepare", "marks")
# The maximum number of concurrent child runs of a run.
AT_ONCE = 3
# The calls to ECS of a worker that is throttled: prefect-aws tries three times, and boto3 each time
# twice.
CALLS = 3 * 2


@pytest.fixture(scope="package")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start the simulated AWS services, and return the environment to connect to them."""
    home = tmp_path_factory.mktemp("account")
    url = f"http://127.0.0.1:{(port := free_port())}"
    env = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1"}
    program = Program(home / "aws.log", "tests.ecs.aws", env, f"{url}/_ministack/health")
    ecs_port = free_port()
    environment = {
        **AWS,
        "AWS_ENDPOINT_URL": url,
        "AWS_ENDPOINT_URL_ECS": f"http://127.0.0.1:{ecs_port}",
        "BUCKET_NAME": BUCKET,
        "TABLE_NAME": TABLE,
        "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME": "clipflow-ecs-events",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for cached in (settings, aws.s3_client, aws.records_table, aws.events_client):
            cached.cache_clear()
        with running(program):
            provision.deploy_data(url)
            deploy_events(url)
            yield environment
    for cached in (settings, aws.s3_client, aws.records_table, aws.events_client):
        cached.cache_clear()


def deploy_events(url: str) -> None:
    """Deploy the event rule and the queue of the observer from the template of prefect-aws."""
    template = files("prefect_aws.templates.ecs").joinpath("events-only.json").read_text()
    parameters = {"WorkPoolName": "clipflow", "ExistingClusterArn": f"{ACCOUNT}:cluster/clipflow"}
    client = boto3.client("cloudformation", endpoint_url=url)
    client.create_stack(
        StackName="clipflow-ecs-events",
        TemplateBody=template,
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
        ],
    )
    client.get_waiter("stack_create_complete").wait(
        StackName="clipflow-ecs-events", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )


@pytest.fixture(scope="package")
def database() -> Iterator[str | None]:
    """The URL of a PostgreSQL database; None, for SQLite, if PostgreSQL is not installed."""
    if folder := programs():
        with postgres(folder) as url:
            yield url
    else:
        warnings.warn("No PostgreSQL here (Debian's `postgresql`): on SQLite.", stacklevel=1)
        yield None


@pytest.fixture(scope="package")
def machines(
    account: dict[str, str], database: str | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machines]:
    """A running cluster with its work pools, workers and deployments."""
    home = tmp_path_factory.mktemp("machines")
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    # Containers get these credentials instead of those of a task role, and no address of ECS, which
    # flow runs do not use.
    pause_file = home / "pause"
    image_environment = {
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "CLIPFLOW_FFMPEG": str(pausable_ffmpeg(home / "ffmpeg", pause_file)),
        "CLIPFLOW_FFMPEG_DEADLINE_SECONDS": "300",
    }
    images = {"clipflow:test": {**AWS, **image_environment}}
    service = EcsService(account["AWS_ENDPOINT_URL"], images, home)
    server = PrefectServer(home, database)
    env = {
        **account,
        "PREFECT_API_URL": server.url,
        "PREFECT_HOME": str(home),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        # Of a call to ECS by boto3. With more, throttled calls would take a minute.
        "AWS_MAX_ATTEMPTS": str(CALLS // 3),
        "MAX_PARALLEL_SEGMENTS": str(AT_ONCE),
        # A machine for each segment, however short it is.
        "CLIPFLOW_MACHINE_CPU_SECONDS": "0",
        "CLIPFLOW_IMAGE": "clipflow:test",
        "CLIPFLOW_CAPACITY_WAIT_SECONDS": "3",
        "CLIPFLOW_SPOT_TIMEOUT_SECONDS": "5",
        "CLIPFLOW_ECS_CLUSTER": "clipflow",
        "CLIPFLOW_TASK_ROLE_ARN": "arn:aws:iam::000000000000:role/flows",
        "CLIPFLOW_EXECUTION_ROLE_ARN": "arn:aws:iam::000000000000:role/execution",
    }
    workers = {
        kind: Program(
            home / f"{kind}.log", f"deployments.work_pools.worker --pool clipflow-{kind}", env
        )
        for kind in WORKERS
    }
    port = int(account["AWS_ENDPOINT_URL_ECS"].rpartition(":")[2])
    with ExitStack() as stack:
        stack.enter_context(running(server))
        stack.enter_context(temporary_settings({PREFECT_API_URL: server.url}))
        command("deployments.work_pools", env)
        stack.enter_context(serving(service, port))
        for worker in workers.values():
            stack.enter_context(running(worker))
        yield Machines(service, object_store(), pause_file, env, workers)


def command(module: str, env: dict[str, str]) -> None:
    """Run a Python module that must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *module.split()],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(autouse=True)
def cleaned(machines: Machines) -> Iterator[None]:
    """After a test that has failed, end its runs and tasks, which would disturb later tests."""
    yield
    machines.end_all()


@pytest.fixture(scope="package")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of 8 seconds for clips."""
    path = tmp_path_factory.mktemp("sample") / "main.mp4"
    return make_source(path, seconds=8, sound=("-c:a", "aac"), clicks=True)


@pytest.fixture
def episode(tmp_path: Path, sample: Path, machines: Machines) -> Episode:
    """A new episode with the sample as its main track."""
    made = Episode(tmp_path.name, record_store())
    made.put_main(sample)
    return made
