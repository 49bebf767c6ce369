"""Context managers that run the local stack: for tests and the demo, and shared by commands."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx

from clipflow.machine import lock_folder
from deployments.local_stack.stack_settings import StackError, StackSettings, client_environment

START_SECONDS = 240
STOP_SECONDS = 120
_HEALTH_SECONDS = 5
_POLL_INTERVAL = 0.1


@dataclass(frozen=True)
class RunningStack:
    """A running stack that is ready for use.

    Attributes:
        env: the environment variables with which a program connects to the stack.
        pid: the process id of the guard.
    """

    settings: StackSettings
    env: dict[str, str]
    pid: int

    @property
    def logs(self) -> Path:
        return self.settings.logs

    def client(self, service: str) -> Any:
        """A boto3 client of the stack's AWS."""
        return self._session().client(service, endpoint_url=self.env["AWS_ENDPOINT_URL"])

    def resource(self, service: str) -> Any:
        """A boto3 resource of the stack's AWS."""
        return self._session().resource(service, endpoint_url=self.env["AWS_ENDPOINT_URL"])

    def _session(self) -> Any:
        import boto3  # Imported here, because the stack's own processes do not need it.

        return boto3.Session(
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            region_name=self.env["AWS_REGION"],
        )


@contextmanager
def running_stack(
    home: Path | None = None, aws_port: int | None = None, prefect_port: int | None = None
) -> Iterator[RunningStack]:
    """Runs the stack of `make up` until the context ends. Settings that are not given are read from
    the environment.

    Raises StackError, with the stack's output, if the stack does not start.
    """
    settings = StackSettings.read(home, aws_port, prefect_port)
    guard = _launch(settings, "--with-parent")
    try:
        _wait_until_ready(guard, settings)
        yield RunningStack(settings, client_environment(settings), guard.pid)
    finally:
        guard.terminate()
        try:
            guard.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()


@dataclass(frozen=True)
class SharedStack:
    """The stack with these settings, while this process is one of its users."""

    settings: StackSettings

    def is_running(self) -> bool:
        """Whether its Prefect server answers."""
        try:
            address = f"{self.settings.prefect_url}/api/health"
            return httpx.get(address, trust_env=False, timeout=_HEALTH_SECONDS).is_success
        except httpx.TransportError:
            return False

    def start(self) -> None:
        """Starts the stack, unless another process has started it meanwhile. Raises StackError,
        with the stack's output, if the stack does not start."""
        with _lock_file(self.settings, "start") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if not self.is_running():
                _wait_until_ready(_launch(self.settings, "--while-used"), self.settings)


@contextmanager
def shared_stack(
    settings: StackSettings, notify: Callable[[str], None] = print
) -> Iterator[SharedStack]:
    """Makes this process a user of the stack that listens on the settings' Prefect port.

    A stack that a user has started runs until its last user ends, which waits for the stack to
    stop. A stack of `make up` does not depend on its users.

    Users hold a shared lock on a file; a process that gets the lock exclusively is the only user of
    the stack. `notify` is called with a message before waiting for another process.
    """
    with _lock_file(settings, "users") as users:
        _lock_shared(users, lambda: notify("Waiting for another command's local stack to stop"))
        with _lock_file(settings, "start") as starting:
            _lock_shared(
                starting, lambda: notify("Waiting for another command's local stack to start")
            )
        try:
            yield SharedStack(settings)
        finally:
            if _is_last(users):
                _wait_until_stopped(settings)


class StackUsers:
    """Lets the guard of a shared stack check whether the stack has users."""

    def __init__(self, settings: StackSettings) -> None:
        self._users = _lock_file(settings, "users")
        # Held until this process ends, which the last user waits for.
        self._guard = _lock_file(settings, "guard")
        fcntl.flock(self._guard, fcntl.LOCK_EX)

    def have_left(self) -> bool:
        """Whether no process uses the stack any more. If so, the lock excludes new users until this
        process has ended."""
        if _try_lock(self._users, fcntl.LOCK_EX):
            return True
        if _try_lock(self._users, fcntl.LOCK_SH):
            fcntl.flock(self._users, fcntl.LOCK_UN)
            return False
        return True  # The last user holds the lock exclusively and waits for the stack to stop.


def _launch(settings: StackSettings, option: str) -> "subprocess.Popen[bytes]":
    """Starts a guard, whose output goes to `stack.log`."""
    settings.logs.mkdir(parents=True, exist_ok=True)
    with _log(settings).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "deployments.local_stack", option],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **settings.as_environment()},
            start_new_session=True,  # A Ctrl-C is for the user of the context, who then stops it.
        )


def _wait_until_ready(guard: "subprocess.Popen[bytes]", settings: StackSettings) -> None:
    output = _log(settings)
    deadline = time.monotonic() + START_SECONDS
    while "ready" not in output.read_text().splitlines():
        if guard.poll() is not None:
            raise StackError(output.read_text().strip())
        if time.monotonic() > deadline:
            raise StackError(f"the stack is not ready after {START_SECONDS} s: see {output.parent}")
        time.sleep(_POLL_INTERVAL)


def _wait_until_stopped(settings: StackSettings) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    with _lock_file(settings, "guard") as guard:
        while not _try_lock(guard, fcntl.LOCK_EX) and time.monotonic() < deadline:
            time.sleep(_POLL_INTERVAL)


def _is_last(users: IO[bytes]) -> bool:
    # The guard, too, holds the lock for a moment every time it checks.
    for _ in range(3):
        if _try_lock(users, fcntl.LOCK_EX):
            return True
        time.sleep(_POLL_INTERVAL / 2)
    return False


def _lock_shared(file: IO[bytes], before_waiting: Callable[[], None]) -> None:
    if not _try_lock(file, fcntl.LOCK_SH):
        before_waiting()
        fcntl.flock(file, fcntl.LOCK_SH)


def _try_lock(file: IO[bytes], kind: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        return True
    return False


def _lock_file(settings: StackSettings, name: str) -> IO[bytes]:
    """A lock file for this user and Prefect port. It is not in the stack's home, because commands
    in other folders have another home and share the same stack."""
    return (lock_folder() / f"{settings.prefect_port}.{name}").open("ab")


def _log(settings: StackSettings) -> Path:
    return settings.logs / "stack.log"
