"""Benchmark of starts: a forked run of the local stack against a Python process of its own.

    python -m benchmarks.starts

is the program of the run. It imports what a run of `generate-clip` needs, makes the clients of AWS,
and prints its CPU time in seconds.
"""

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Cost, Finding, cost, median_cost
from deployments.local_stack.run_client import ADDRESS, client_command
from tests.programs import ROOT

_COMMAND = [sys.executable, "-m", "benchmarks.starts"]
_IMPORTED = ("prefect.engine", "prefect.flow_engine", "flows.generate_clip")
# The clients are not connected to anything.
_AWS = {"AWS_REGION": "us-east-1", "BUCKET_NAME": "none", "TABLE_NAME": "none"}


def benchmark(folder: Path, rounds: int) -> list[Finding]:
    """The cost of a forked start divided by that of a plain one; nothing except on Linux."""
    if sys.platform != "linux":
        return []
    environment = {**os.environ, **_AWS, ADDRESS: str(folder / "runs")}
    with _serving(environment):
        warm, plain = [], []
        for _ in range(rounds):
            warm.append(_forked(environment))
            plain.append(cost(lambda: _run(_COMMAND, environment)))
    return findings(median_cost(warm), median_cost(plain))


def findings(warm: Cost, plain: Cost) -> list[Finding]:
    detail = f"forked: {warm}; plain: {plain}"
    return [
        Finding("starts/warm-vs-plain", warm.cpu / plain.cpu, 0.15, detail),
        Finding("starts/warm-cpu-ms", 1000 * warm.cpu, None, detail),
    ]


def _forked(environment: dict[str, str]) -> Cost:
    """The cost of a run: its client is a child of this process, but the fork itself is not."""
    printed: list[str] = []
    client = cost(lambda: printed.append(_run(client_command(_COMMAND), environment)))
    return Cost(client.cpu + float(printed[0]), client.wall)


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


@contextmanager
def _serving(environment: dict[str, str]) -> Iterator[None]:
    """Runs a run server until the context ends."""
    command = [sys.executable, "-m", "deployments.local_stack.run_server"]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE) as server:
        try:
            if not server.stdout or server.stdout.readline() != b"ready\n":
                raise RuntimeError("the run server has not started")
            yield
        finally:
            server.terminate()


def main() -> None:
    for module in _IMPORTED:
        importlib.import_module(module)
    from clipflow.storage.aws import events_client, records_table, s3_client

    for client in (s3_client, events_client, records_table):
        client()
    print(time.process_time())


if __name__ == "__main__":
    main()
