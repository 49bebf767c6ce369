"""The local stack as a context, for tests and the demo."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.local_stack.settings import StackError, StackSettings, client_environment

START_SECONDS = 240
STOP_SECONDS = 120


@dataclass(frozen=True)
class RunningStack:
    """A stack that is ready.

    Attributes:
        env: the variables with which a program talks to the stack.
        pid: the guard's.
    """

    settings: StackSettings
    env: dict[str, str]
    pid: int

    @property
    def logs(self) -> Path:
        return self.settings.logs

    def client(self, service: str) -> Any:
        """A boto3 client or resource of the stack's AWS."""
        return self._session().client(service, endpoint_url=self.env["AWS_ENDPOINT_URL"])

    def resource(self, service: str) -> Any:
        """A boto3 client or resource of the stack's AWS."""
        return self._session().resource(service, endpoint_url=self.env["AWS_ENDPOINT_URL"])

    def _session(self) -> Any:
        import boto3  # Here, because the stack's own processes do not need it.

        return boto3.Session(
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            region_name=self.env["AWS_REGION"],
        )


@contextmanager
def running_stack(
    home: Path | None = None, aws_port: int | None = None, prefect_port: int | None = None
) -> Iterator[RunningStack]:
    """Runs what `make up` runs until the context ends; what is not given is read from the
    environment.

    Raises StackError, with what the stack printed, where it does not come up.
    """
    settings = StackSettings.read(home, aws_port, prefect_port)
    settings.logs.mkdir(parents=True, exist_ok=True)
    output = settings.logs / "stack.log"
    with output.open("wb") as log:
        guard = subprocess.Popen(
            [sys.executable, "-m", "deployments.local_stack", "--with-parent"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **settings.as_environment()},
            start_new_session=True,  # A Ctrl-C is for the user of the context, who then stops it.
        )
    try:
        _wait_until_ready(guard, output)
        yield RunningStack(settings, client_environment(settings), guard.pid)
    finally:
        guard.terminate()
        try:
            guard.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()


def _wait_until_ready(guard: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "ready" not in output.read_text().splitlines():
        if guard.poll() is not None:
            raise StackError(output.read_text().strip())
        if time.monotonic() > deadline:
            raise StackError(f"the stack is not ready after {START_SECONDS} s: see {output.parent}")
        time.sleep(0.1)
