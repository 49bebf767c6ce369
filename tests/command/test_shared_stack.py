"""Concurrent commands without `make up` share one local stack, which the last one stops."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.command.cli import CLIPFLOW, user_environment
from tests.made_media import make_source
from tests.programs import eventually, free_port

pytestmark = [pytest.mark.slow]

Command = subprocess.Popen[str]


class Commands:
    """Starts `clipflow clips` in several folders of a machine on which no stack runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {
            "CLIPFLOW_AWS_PORT": str(free_port()),
            "CLIPFLOW_PREFECT_PORT": str(free_port()),
        }
        self._started: list[Command] = []
        self._talk = make_source(folder / "talk.mp4", seconds=8, sound=("-c:a", "aac"))

    def start(self, name: str, *cuts: str) -> Command:
        folder = self._folder / name
        folder.mkdir()
        options = [option for cut in cuts for option in ("--cut", cut)]
        command = subprocess.Popen(
            [CLIPFLOW, "clips", str(self._talk), *options, "--name", name],
            cwd=folder,
            env={**user_environment(), **self._ports, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(command)
        return command

    def stacks(self) -> list[Path]:
        """The log of each stack that a command has started."""
        return list(self._folder.glob("*/.clipflow/logs/stack.log"))

    def clip(self, name: str) -> Path:
        return self._folder / name / "out" / f"{name}.mp4"

    def is_stack_running(self) -> bool:
        url = f"http://127.0.0.1:{self._ports['CLIPFLOW_PREFECT_PORT']}/api/health"
        try:
            return httpx.get(url, timeout=5).is_success
        except httpx.TransportError:
            return False

    def stop_all(self) -> None:
        for command in self._started:
            command.send_signal(signal.SIGTERM)
            command.communicate(timeout=120)


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path)
    yield commands
    commands.stop_all()
    eventually(lambda: not commands.is_stack_running())


def read_until(command: Command, text: str) -> None:
    """Read the output of the command up to a line that contains `text`."""
    assert command.stdout
    lines = []
    while text not in (line := command.stdout.readline()):
        lines.append(line)
        assert line, "".join(lines)


def test_concurrent_commands_share_a_stack_that_the_last_one_stops(commands: Commands) -> None:
    first, simultaneous = commands.start("first", "0-1"), commands.start("same", "1-2")
    time.sleep(3)
    later = commands.start("soon", "2-3")
    read_until(first, "Requested")
    longest = commands.start("longest", *(f"{n / 4}-{n / 4 + 3}" for n in range(16)))
    for command in (first, simultaneous, later):
        output, _ = command.communicate(timeout=300)
        assert command.returncode == 0, output
    assert longest.poll() is None, "the longest command ended before the one that started the stack"
    output, _ = longest.communicate(timeout=300)
    assert longest.returncode == 0, output
    assert not commands.is_stack_running(), (
        "the last command did not wait until the stack had stopped"
    )
    assert len(commands.stacks()) == 1
    for name in ("first", "same", "soon", "longest"):
        assert commands.clip(name).exists()


def test_a_stack_whose_only_command_is_killed_stops(commands: Commands) -> None:
    only = commands.start("only", "0-1")
    read_until(only, "Requested")
    assert commands.is_stack_running()
    os.kill(only.pid, signal.SIGKILL)
    only.wait()
    eventually(lambda: not commands.is_stack_running())
