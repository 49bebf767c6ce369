"""Log lines and spans of a flow run's process, also when it is killed."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from clipflow.domain.events import TraceContext, event_trace_context
from deployments.run_environment import LOGGING
from deployments.work_pools.pools import flows_environment
from tasks.telemetry import event_trace
from tests.collector import collecting
from tests.programs import PrefectServer, Program, eventually

IDS = {"tenant_id": "t-1", "episode_id": "e-1", "clip_id": "c-1"}


@pytest.mark.slow
def test_a_run_that_is_killed_has_logged_and_exported_everything(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    env = {**LOGGING, "PREFECT_API_URL": prefect_server.url, "PREFECT_HOME": str(tmp_path)}
    with collecting() as collector:
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint
        run = Program(tmp_path / "log", "tests.tasks.killed_run", env)
        run.start()
        eventually(lambda: '"waiting"' in run.output())
        assert run.stop() == -signal.SIGTERM

    lines = [json.loads(line) for line in run.output().splitlines()]
    assert {"timestamp", "level", "logger", "message"} <= set.intersection(*map(set, lines))
    of_run = [
        line for line in lines if line["logger"] in ("prefect.flow_runs", "prefect.task_runs")
    ]
    assert {line["run_id"] for line in of_run} == {of_run[0]["run_id"]}
    assert all(IDS.items() <= line.items() for line in of_run)
    assert lines[-1]["message"].startswith("Finished in state Crashed")
    reading_lines = [line for line in lines if line["message"].startswith("reading")]
    assert [line["step"] for line in reading_lines] == ["read main.mp4"] * 2
    assert "secret" not in run.output() and "a.mp4?" in run.output()

    assert {line["trace_id"] for line in of_run} == {s.trace_id for s in collector.spans}
    (step,) = collector.named("read main.mp4")
    (flow,) = [span for span in collector.spans if span.is_flow]
    assert step.attributes["clipflow.retries"] == 1
    assert flow.attributes["clipflow.clip_id"] == "c-1"
    tries = [(s.attributes["clipflow.retries"], s.parent_id) for s in collector.named("reading")]
    assert tries == [(0, step.span_id), (1, step.span_id)]
    assert collector.ancestors(step) == [flow.name]
    assert "secret" not in repr(collector) and "StorageUnavailableError" in repr(collector)


@pytest.mark.slow
def test_log_lines_in_a_terminal_are_not_json() -> None:
    script = "import logging; from prefect import flow; logging.error('it is late')"
    terminal, child_side = pty.openpty()
    env = {**os.environ, **LOGGING}
    subprocess.run([sys.executable, "-c", script], env=env, stderr=child_side, check=True)
    os.close(child_side)
    output = os.read(terminal, 4096).decode()
    os.close(terminal)
    assert "root - it is late" in output
    assert "{" not in output


def test_the_parent_span_of_a_run_is_that_of_its_event() -> None:
    event_id = uuid4()
    remote_trace = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    parameters = {"event_id": str(event_id), "traceparent": remote_trace.traceparent}
    assert event_trace(parameters) == remote_trace
    assert event_trace({**parameters, "traceparent": ""}) == event_trace_context(event_id)
    assert event_trace({"event_id": None}) is None


def test_other_machines_get_the_address_of_the_collector_but_not_its_key() -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_SERVICE_NAME": "clips",
    }
    assert flows_environment({**variables, "OTEL_EXPORTER_OTLP_HEADERS": "key=secret"}) == variables
