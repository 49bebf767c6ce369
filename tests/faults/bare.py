"""A machine without a supervisor, whose AWS is behind a proxy that injects faults."""

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
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.local_stack import RunningStack, provision
from deployments.local_stack.stack_settings import (
    StackSettings,
    client_environment,
    part_environment,
)
from tests.faults.killing import kill, processes_of
from tests.faulty_proxy import FaultyProxy
from tests.programs import AWS, ROOT, Program, eventually, free_port


@dataclass(frozen=True)
class BareMachine:
    """A running machine. Clients use `stack`, which bypasses the proxy."""

    stack: RunningStack
    proxy: FaultyProxy
    bridge: Program
    worker: Program

    @property
    def home(self) -> Path:
        return self.stack.settings.home


@contextmanager
def bare_machine(home: Path) -> Iterator[BareMachine]:
    """Run the programs of `make up` without its supervisor."""
    settings = StackSettings.read(home, free_port(), free_port())
    env = part_environment(settings, os.environ) | settings.as_environment()
    settings.logs.mkdir(parents=True)
    settings.scratch.mkdir()
    with ExitStack() as ending:
        ending.callback(_end, home)
        for part, health in (
            (_local("aws", settings, env), f"{settings.aws_url}/_ministack/ready"),
            (_local("prefect", settings, env), f"{settings.prefect_url}/api/health"),
        ):
            _start(part, ending, health)
        proxy = ending.enter_context(FaultyProxy(settings.aws_url).running())
        behind = env | {"AWS_ENDPOINT_URL": proxy.url}
        _set_up(settings, env)
        worker = "deployments.local_stack.worker"
        parts = [
            Program(settings.logs / f"{name}.log", command, behind)
            for name, command in (("bridge", "deployments.bridge"), ("worker", worker))
        ]
        for part in parts:
            _start(part, ending)
        stack = RunningStack(settings, client_environment(settings), os.getpid())
        yield BareMachine(stack, proxy, *parts)


def _local(name: str, settings: StackSettings, env: dict[str, str]) -> Program:
    return Program(settings.logs / f"{name}.log", f"deployments.local_stack.local_{name}", env)


def _start(program: Program, ending: ExitStack, health: str = "") -> None:
    ending.callback(program.stop, signal.SIGKILL)
    program.start()
    # The first start creates the Prefect database.
    eventually(lambda: not health or _answers(health), 180)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def _set_up(settings: StackSettings, env: dict[str, str]) -> None:
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


def _end(home: Path) -> None:
    for pid in processes_of(home):
        kill(pid)
    eventually(lambda: not processes_of(home))
