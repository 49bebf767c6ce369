"""The programs of the local stack without its supervisor, and with faults between them and AWS."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.local_stack import RunningStack, provision
from deployments.local_stack.stack_settings import (
    StackSettings,
    client_environment,
    part_environment,
)
from tests.faults.processes import RUN, flow_run_of, kill, pids, processes_of
from tests.faults.tenants import IN_PROGRESS, Episode, Tenants, event_message
from tests.faulty_proxy import FaultyProxy
from tests.programs import AWS, ROOT, Program, eventually, free_port

LONG = [{"startTime": f"00:00.{n % 10}", "endTime": f"00:01.{n % 10}"} for n in range(40)]


@dataclass(frozen=True)
class UnsupervisedMachine:
    """The running programs of a machine on which no supervisor restarts them.

    The bridge and the worker reach AWS through `proxy`. Clients in tests use `stack`, which
    bypasses it.
    """

    stack: RunningStack
    proxy: FaultyProxy
    prefect: Program
    bridge: Program
    worker: Program

    @property
    def home(self) -> Path:
        return self.stack.settings.home


@contextmanager
def unsupervised_machine(home: Path) -> Iterator[UnsupervisedMachine]:
    """Start the programs that `make up` starts, and kill all of them at the end."""
    settings = StackSettings.read(home, free_port(), free_port())
    env = part_environment(settings, os.environ) | settings.as_environment()
    settings.logs.mkdir(parents=True)
    settings.scratch.mkdir()
    with ExitStack() as cleanup:
        cleanup.callback(_kill_all, home)
        prefect = _local_program("prefect", settings, env)
        for part, health in (
            (_local_program("aws", settings, env), f"{settings.aws_url}/_ministack/ready"),
            (prefect, f"{settings.prefect_url}/api/health"),
        ):
            _start(part, cleanup, health)
        proxy = cleanup.enter_context(FaultyProxy(settings.aws_url).running())
        proxied_env = env | {"AWS_ENDPOINT_URL": proxy.url}
        _deploy(settings, env)
        worker = "deployments.local_stack.worker"
        parts = [
            Program(settings.logs / f"{name}.log", command, proxied_env)
            for name, command in (("bridge", "deployments.bridge"), ("worker", worker))
        ]
        for part in parts:
            _start(part, cleanup)
        stack = RunningStack(settings, client_environment(settings), os.getpid())
        yield UnsupervisedMachine(stack, proxy, prefect, *parts)


def _local_program(name: str, settings: StackSettings, env: dict[str, str]) -> Program:
    return Program(settings.logs / f"{name}.log", f"deployments.local_stack.local_{name}", env)


def _start(program: Program, cleanup: ExitStack, health: str = "") -> None:
    cleanup.callback(program.stop, signal.SIGKILL)
    program.start()
    # The first start creates the Prefect database.
    eventually(lambda: not health or _is_healthy(health), 180)


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def _deploy(settings: StackSettings, env: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in AWS.items():
            patch.setenv(name, value)
        provision.deploy_data(settings.aws_url)
    with temporary_settings({PREFECT_API_URL: f"{settings.prefect_url}/api"}):
        asyncio.run(provision.create_work_pools())
    command = ["-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "prefect.yaml"]
    subprocess.run(
        [sys.executable, *command], env=env, cwd=ROOT, check=True, capture_output=True, timeout=120
    )


def _kill_all(home: Path) -> None:
    for pid in processes_of(home):
        kill(pid)
    eventually(lambda: not processes_of(home))


def client_of(machine: UnsupervisedMachine) -> SyncPrefectClient:
    return SyncPrefectClient(f"{machine.stack.settings.prefect_url}/api")


def start_clip(
    machine: UnsupervisedMachine,
    tenants: Tenants,
    source: Path,
    segments: list[dict[str, str]] = LONG,
) -> tuple[Episode, int]:
    """Request the only clip of a new episode, and wait until it is in progress.

    Returns the episode and the process id of the run that makes the clip.
    """
    episode = tenants.detect(Episode("t", ["long"]), source, segments)
    tenants.deliver(event_message(episode))
    # The time in which an accepted event starts its clips; the worker may just have been started.
    eventually(lambda: tenants.record(episode, "long")["status"] == IN_PROGRESS)
    owner = tenants.record(episode, "long")["flowRunId"]
    [process] = [pid for pid in pids(machine.home, RUN) if flow_run_of(pid) == owner]
    return episode, process
