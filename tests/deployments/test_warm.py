"""The warm machines: which runs they take, when their number changes, and how one is stopped."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running, Scheduled
from prefect.workers.process import ProcessWorker
from pydantic import ValidationError

from deployments.bridge.prefect_server import check_warm
from deployments.run_environment import RUN_ENVIRONMENT
from deployments.warm.worker import put_back
from deployments.work_pools import warm
from deployments.work_pools.__main__ import DEPLOYMENTS
from deployments.work_pools.pools import REMOTE
from deployments.work_pools.warm import (
    POOL,
    WarmSettings,
    idle_machines,
    job_template,
    reserved_vcpu,
    routed,
)
from tests.infra.templates import resources
from tests.programs import ROOT, PrefectServer, Program, eventually, parent_of

SOME = WarmSettings.read({warm.MACHINES: "1-4"})


def pools(text: str) -> dict[str, str]:
    """The pool of each deployment, by its entrypoint."""
    return {
        each["entrypoint"].partition(":")[2]: each["work_pool"]["name"]
        for each in yaml.safe_load(text)["deployments"]
    }


def test_only_clips_and_their_events_run_on_warm_machines() -> None:
    text = DEPLOYMENTS.read_text()
    assert routed(text, WarmSettings.read({})) == text
    before, after = pools(text), pools(routed(text, SOME))
    changed = {flow for flow in before if before[flow] != after[flow]}
    assert changed == {"begin_clip_generation", "generate_clip"}
    assert {after[flow] for flow in changed} == {POOL}
    # Nothing else changes: triggers, queues and parameters.
    back = yaml.safe_load(routed(text, SOME))
    for each in back["deployments"]:
        flow = each["entrypoint"].partition(":")[2]
        each["work_pool"] = {**each["work_pool"], "name": before[flow]}
    original = yaml.safe_load(text)
    assert back == original


@pytest.mark.parametrize("value", ["4", "4-1", "-1-4", "one-two", "1-4 "])
def test_an_invalid_number_of_machines_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        WarmSettings.read({warm.MACHINES: value})


@pytest.mark.parametrize(
    ("online", "runs", "idle"),
    [(0, 0, 0), (1, 0, 1), (1, 1, 0), (3, 4, 2), (3, 5, 1), (3, 12, 0), (1, 40, 0)],
)
def test_machines_are_idle_if_the_others_can_have_all_runs(
    online: int, runs: int, idle: int
) -> None:
    assert idle_machines(online, runs, at_once=4) == idle


@pytest.mark.parametrize(
    ("machines", "base", "vcpu"),
    [(0, 0, (0, 0)), (1, 0, (4, 0)), (4, 0, (4, 12)), (4, 1, (8, 8)), (2, 3, (8, 0))],
)
def test_the_quotas_of_the_other_pools_leave_out_the_warm_machines(
    machines: int, base: int, vcpu: tuple[int, int]
) -> None:
    assert reserved_vcpu(machines, base, cpu=4096) == vcpu


def test_the_container_has_time_to_drain_and_the_environment_of_the_other_runs() -> None:
    [definition] = resources("warm", "AWS::ECS::TaskDefinition").values()
    [container] = definition["ContainerDefinitions"]
    assert container["Command"] == ["python", "-m", "deployments.warm"]
    # Init forwards SIGTERM, and collects the processes of runs.
    assert container["LinuxParameters"] == {"InitProcessEnabled": "true"}
    longest = next(
        field.metadata for name, field in WarmSettings.model_fields.items() if "drain" in name
    )
    [most] = [each.le for each in longest if hasattr(each, "le")]
    # After it, the runs are returned to the pool.
    assert int(container["StopTimeout"]) == 120 >= most + 20
    environment = {each["Name"]: each["Value"] for each in container["Environment"]}
    assert environment.items() >= {**RUN_ENVIRONMENT, **REMOTE}.items()
    file = environment["CLIPFLOW_WARM_ALIVE_FILE"]
    assert f"find {file} " in container["HealthCheck"]["Command"][1]


def test_machines_are_on_spot_and_some_on_demand_and_an_update_keeps_their_number() -> None:
    [service] = resources("warm", "AWS::ECS::Service").values()
    spot, on_demand = service["CapacityProviderStrategy"]
    assert spot == {"CapacityProvider": "FARGATE_SPOT", "Weight": "3"}
    assert on_demand == {"CapacityProvider": "FARGATE", "Base": "WarmOnDemand", "Weight": "1"}
    assert not {"DesiredCount", "LaunchType"} & service.keys()


def test_each_alarm_has_its_step_and_the_steps_have_no_gap() -> None:
    policies = resources("warm", "AWS::ApplicationAutoScaling::ScalingPolicy")
    alarms = resources("warm", "AWS::CloudWatch::Alarm")
    assert {action for alarm in alarms.values() for action in alarm["AlarmActions"]} == set(
        policies
    )
    for policy in policies.values():
        steps = policy["StepScalingPolicyConfiguration"]["StepAdjustments"]
        bounds = [step["MetricIntervalLowerBound"] for step in steps]
        assert bounds[0] == "0"
        assert [step.get("MetricIntervalUpperBound") for step in steps] == [*bounds[1:], None]
    [target] = resources("warm", "AWS::ApplicationAutoScaling::ScalableTarget").values()
    assert target["MinCapacity"][0] == "0" and target["MaxCapacity"][0] == "1"


@pytest.fixture
def warm_pool(prefect_server: PrefectServer) -> Iterator[SyncPrefectClient]:
    """A client of a server that has an empty warm pool."""
    with (
        temporary_settings({PREFECT_API_URL: prefect_server.url}),
        get_client(sync_client=True) as client,
    ):
        template = job_template(ProcessWorker.get_default_base_job_template())
        pool = WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template)
        client.create_work_pool(pool, overwrite=True)
        yield client
        client.delete_work_pool(POOL)


@contextmanager
def machine(
    server: PrefectServer, folder: Path, name: str, drain_seconds: float
) -> Iterator[Program]:
    """A running warm machine."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    env = {
        "PREFECT_API_URL": server.url,
        "PREFECT_WORKER_QUERY_SECONDS": "0.1",
        "PYTHONPATH": str(ROOT),
        "CLIPFLOW_RUN_SERVER": str(folder / f"{name}.socket"),
        "CLIPFLOW_WARM_ALIVE_FILE": str(folder / f"{name}.alive"),
        "CLIPFLOW_WARM_DRAIN_SECONDS": str(drain_seconds),
        "CLIPFLOW_FLOW_SETTINGS": json.dumps({"CLIPFLOW_SCRATCH": str(scratch)}),
    }
    program = Program(folder / f"{name}.log", "deployments.warm", env)
    program.start()
    try:
        eventually((folder / f"{name}.alive").exists)
        yield program
    finally:
        with suppress(ProcessLookupError):
            program.stop(signal.SIGKILL)


def start(client: SyncPrefectClient, folder: Path) -> FlowRun:
    """Start a run of `sleeper` in the warm pool."""
    deployment = client.create_deployment(
        client.create_flow_from_name("sleeper"),
        "warm",
        work_pool_name=POOL,
        entrypoint="tests.deployments.sleeper.sleep_until_ended",
        pull_steps=[],
    )
    return client.create_flow_run_from_deployment(deployment, parameters={"folder": str(folder)})


def state_of(client: SyncPrefectClient, run: UUID) -> str:
    state = client.read_flow_run(run).state
    return state.name or "" if state else ""


def starts(folder: Path) -> list[int]:
    """The ids of the children of each start of the run."""
    file = folder / "starts"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.mark.slow
def test_a_stopped_machine_lets_its_run_end_and_returns_it_if_it_takes_too_long(
    warm_pool: SyncPrefectClient, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    try:
        with machine(prefect_server, tmp_path, "first", drain_seconds=0.5) as first:
            run = start(warm_pool, tmp_path)
            eventually(lambda: len(starts(tmp_path)) == 1)
            forked = Path("/proc", str(parent_of(starts(tmp_path)[0])))
            assert b"run_server" in (forked / "cmdline").read_bytes()
            environment = (forked / "environ").read_bytes()
            assert b"PREFECT_CLIENT_CSRF_SUPPORT_ENABLED=false" in environment
            assert first.stop() == 0
            # The run's process has ended, and the run was not marked as crashed meanwhile.
            assert state_of(warm_pool, run.id) == "AwaitingRetry"
            assert "was returned to the pool" in first.output()
        with machine(prefect_server, tmp_path, "second", drain_seconds=60) as second:
            eventually(lambda: len(starts(tmp_path)) == 2)
            late = start(warm_pool, tmp_path)
            eventually(lambda: len(starts(tmp_path)) == 3)
            (tmp_path / "end").touch()
            assert second.stop() == 0
            assert [state_of(warm_pool, each.id) for each in (run, late)] == ["Completed"] * 2
            assert warm_pool.read_flow_run(run.id).run_count == 2
            after = start(warm_pool, tmp_path)
            assert state_of(warm_pool, after.id) == "Scheduled"
    finally:
        # In a container, they end with it.
        for child in starts(tmp_path):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_only_unfinished_runs_are_returned_to_the_pool(
    warm_pool: SyncPrefectClient, tmp_path: Path
) -> None:
    runs = [start(warm_pool, tmp_path).id for _ in range(3)]
    for run, name in zip(runs, ("RUNNING", "CANCELLING", "COMPLETED"), strict=True):
        state: State[None] = State(type=StateType(name))
        warm_pool.set_flow_run_state(run, state, force=True)
    asyncio.run(put_back(runs))
    found = [state_of(warm_pool, run) for run in runs]
    assert found == ["AwaitingRetry", "Cancelled", "Completed"]
    for run in runs:
        warm_pool.delete_flow_run(run)


@pytest.mark.slow
def test_the_bridge_measures_the_queue_of_the_warm_pool(
    warm_pool: SyncPrefectClient,
    prefect_server: PrefectServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def once() -> None:
        async with get_client() as client:
            await check_warm(client, 4, 10)

    def measured() -> tuple[int, int, int]:
        caplog.set_level(logging.INFO, "clipflow.measures")
        asyncio.run(once())
        fields = caplog.records[-1].__dict__["fields"]
        return fields["waiting"], fields["wait_seconds"], fields["idle"]

    for name in ("one", "two", "three"):
        prefect_server.post(f"/work_pools/{POOL}/workers/heartbeat", {"name": name})
    assert measured() == (0, 0, 3)
    runs = [start(warm_pool, tmp_path).id for _ in range(4)]
    # A run that has just been scheduled is not waiting for a machine.
    assert measured() == (0, 0, 3)
    ago = datetime.now(UTC) - timedelta(seconds=100)
    warm_pool.set_flow_run_state(runs[0], Scheduled(scheduled_time=ago, name="Late"), force=True)
    for run in runs[1:]:
        warm_pool.set_flow_run_state(run, Running(), force=True)
    waiting, seconds, idle = measured()
    assert (waiting, idle) == (1, 2) and 100 <= seconds < 130
    for run in runs:
        warm_pool.delete_flow_run(run)
