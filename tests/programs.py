"""Programs that tests start as child processes, and functions that wait for conditions."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from prefect.events.worker import EventsWorker

ROOT = Path(__file__).parents[1]
AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


Value = TypeVar("Value")


def eventually(condition: Callable[[], Value], seconds: float = 120) -> Value:
    """Wait until `condition()` is true, and return its value; fails after `seconds`.

    The interval between two checks grows with the time that has passed, because checks that ask a
    server take CPU time from what they wait for.
    """
    began = time.monotonic()
    while not (value := condition()):
        passed = time.monotonic() - began
        assert passed < seconds, f"not within {seconds} s"
        time.sleep(min(0.05 + passed / 20, 0.5))
    return value


def throughout(seconds: float, holds: Callable[[], object]) -> None:
    """Fail as soon as `holds()` is false within the next `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert holds()
        time.sleep(0.05)


class Program:
    """A Python module that runs as a process, with its output in a log file.

    If `health` is set, `start` waits until this URL responds successfully.
    """

    def __init__(self, log: Path, command: str, env: dict[str, str], health: str = "") -> None:
        self._log = log
        self._command = [sys.executable, "-m", *command.split()]
        self._env = {**os.environ, **env}
        self._health = health
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._env, cwd=ROOT
            )
        if self._health:
            eventually(self._is_healthy)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the program and return its exit code."""
        assert self._process
        self._process.send_signal(number)
        try:
            return self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()

    def wait(self, seconds: float) -> int:
        """Wait until the program ends by itself, and return its exit code."""
        assert self._process
        return self._process.wait(seconds)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Suspend the process within the context."""
        assert self._process
        stat = Path(f"/proc/{self._process.pid}/stat")
        self._process.send_signal(signal.SIGSTOP)
        try:
            eventually(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def output(self) -> str:
        """Everything that the program has written to stdout and stderr so far."""
        return self._log.read_text()

    def _is_healthy(self) -> bool:
        assert self._process and self._process.poll() is None, self.output()
        try:
            return httpx.get(self._health, timeout=2).is_success
        except httpx.TransportError:
            return False


@contextmanager
def running(program: Program) -> Iterator[None]:
    """Start a program, and kill it at the end."""
    try:
        program.start()
        yield
    finally:
        # Not SIGTERM, because a worker then waits for its running tasks.
        program.stop(signal.SIGKILL)


def parent_of(pid: int) -> int:
    """The id of a running process's parent, from Linux's /proc."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def send_the_rest() -> None:
    """Send the log lines and events of flows and workers of this process which are not sent yet.

    Prefect would send all later events to the server of the first one, and at the end of the
    process try again and again to send what is left for a server that was stopped.
    """
    # Of all such services. In another thread, because with an event loop it has to be awaited.
    with ThreadPoolExecutor(1) as thread:
        sent: Any = thread.submit(EventsWorker.drain_all, timeout=5, at_exit=False).result()
    if sent.not_done:
        warnings.warn("Events or log lines could not be sent within 5 s.", stacklevel=2)


# A line of the access log of uvicorn, which Prefect's server writes at the level INFO.
_REQUEST = re.compile(r'"(GET|POST|PUT|PATCH|DELETE) /api(/[^ ?]*)[^"]* HTTP/1.1')
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class PrefectServer(Program):
    """Prefect's server, configured as in the local stack.

    Its database is `database`, or SQLite in `home`. It is not started with Prefect's default
    settings, because SQLite then reports that it is busy when two clients write.
    """

    def __init__(self, home: Path, database: str | None = None) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api"
        env = {
            "PREFECT_HOME": str(home),
            "PREFECT_LOGGING_SERVER_LEVEL": "INFO",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
        }
        if database:
            env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
        command = "deployments.local_stack.local_prefect"
        super().__init__(home / "log", command, env, f"{self.url}/health")

    def start(self) -> None:
        super().start()
        send_the_rest()

    def stop(self, number: int = signal.SIGTERM) -> int:
        send_the_rest()
        return super().stop(number)

    @contextmanager
    def killed(self) -> Iterator[None]:
        """Kill the server, as in a crash, and start it again after the context."""
        super().stop(signal.SIGKILL)
        try:
            yield
        finally:
            super().start()

    def post(self, path: str, body: object) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, timeout=10).raise_for_status()

    def requests(self) -> list[str]:
        """The requests that the server has answered so far: `GET /flow_runs/{id}`.

        Without health checks, and without those that open a websocket, over which events are sent.
        """
        found = _REQUEST.findall(self.output())
        return [
            _UUID.sub("{id}", f"{method} {path}") for method, path in found if path != "/health"
        ]
