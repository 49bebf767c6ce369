"""Runs a flow whose task succeeds at the second attempt, and which then waits for a signal."""

import signal

from prefect import flow, get_run_logger, task

import flows  # noqa: F401 - configures tracing, as for every flow of clipflow
from clipflow.domain.errors import StorageUnavailableError
from clipflow.telemetry.tracing import span

SECRET = "https://bucket/a.mp4?X-Amz-Signature=secret"
attempts: list[int] = []


@task(name="read", task_run_name="read {name}", retries=1)
def read(name: str) -> None:
    attempts.append(1)
    with span("reading") as work:
        work.bytes_read = 7
        get_run_logger().warning("reading %s as %s", SECRET, name)
        if len(attempts) == 1:
            raise StorageUnavailableError(f"Reading {SECRET} failed.")


@flow(name="a-run")
def a_run(tenant_id: str, episode_id: str, clip_id: str) -> None:
    read("main.mp4")
    get_run_logger().info("waiting")
    signal.pause()


if __name__ == "__main__":
    a_run("t-1", "e-1", "c-1")
