"""The local stack: starting, stopping, resuming, and the failure of each of its processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from clipflow.domain.clips import BeginClipGeneration
from deployments.local_stack import RunningStack, StackError, running_stack
from deployments.local_stack.stack_settings import StackSettings
from tests.programs import ROOT, eventually, free_port

KEY = {"pk": "tenant#episode", "sk": "clip#one"}


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[StackSettings]:
    """The home and ports of a stack for one test. Fails if a process of it is left at the end."""
    settings = StackSettings.read(tmp_path / "home", free_port(), free_port())
    yield settings
    assert not processes_of(settings)


@pytest.mark.slow
def test_a_second_start_resumes_the_state_of_the_first(
    settings: StackSettings, tmp_path: Path
) -> None:
    with running(settings) as stack:
        stack.client("s3").put_object(Bucket="clipflow-media", Key="a/b.mp4", Body=b"picture")
        records = stack.resource("dynamodb").Table("clipflow-records")
        records.put_item(Item={**KEY, "status": "detected"})
        run = start_sleeper(stack, tmp_path)
        eventually(lambda: count_starts(tmp_path) == 1)
    assert not processes_of(settings), "a process that a flow run had started is left"
    assert not list(settings.scratch.iterdir()), (
        "a file of a flow run is left in the scratch folder"
    )

    with running(settings) as stack:
        response = stack.client("s3").get_object(Bucket="clipflow-media", Key="a/b.mp4")
        assert response["Body"].read() == b"picture"
        records = stack.resource("dynamodb").Table("clipflow-records")
        assert records.get_item(Key=KEY)["Item"]["status"] == "detected"

        eventually(lambda: count_starts(tmp_path) == 2)
        (tmp_path / "end").touch()
        eventually(lambda: request(stack, f"/flow_runs/{run}")["state"]["type"] == "COMPLETED")
        for part in ("local_prefect", "local_stack.worker", "deployments.bridge"):
            kill(stack, part)
        assert_trigger_exists_once_and_keeps_types(stack)


def assert_trigger_exists_once_and_keeps_types(stack: RunningStack) -> None:
    clips = [{"clipId": "one", "segments": [{"startTime": "00:01", "endTime": 2.5}]}]
    details: list[dict[str, Any]] = [
        {"tenantId": "7", "episodeId": "null"},
        {"tenantId": "7", "episodeId": "e", "clips": clips},
    ]
    events = {
        put_event(stack, detail): BeginClipGeneration.read(detail, "the event")
        for detail in details
    }
    flow = {"flows": {"name": {"any_": ["begin-clip-generation"]}}}
    eventually(
        lambda: is_healthy(stack) and len(request(stack, "/flow_runs/filter", flow)) >= 2, 90
    )
    parameters = [run["parameters"] for run in request(stack, "/flow_runs/filter", flow)]
    # If the automation was slow, the sweep has started the same run once more.
    assert {(run["tenant_id"], run["episode_id"]) for run in parameters} == {
        ("7", "null"),
        ("7", "e"),
    }
    requests_read = {
        run["event_id"]: BeginClipGeneration.read(json.loads(run["request"]), "the request")
        for run in parameters
    }
    assert requests_read == events
    names = [automation["name"] for automation in request(stack, "/automations/filter", {})]
    assert sorted(names) == ["begin-clip-generation", "mark-failed"]


@pytest.mark.parametrize("port", ["aws_port", "prefect_port"])
def test_a_port_in_use_is_reported_with_its_setting(settings: StackSettings, port: str) -> None:
    taken = getattr(settings, port)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", taken))
        listener.listen()
        with pytest.raises(StackError, match=f"port {taken} is taken.*CLIPFLOW_{port.upper()}"):
            running(settings).__enter__()


@pytest.mark.slow
def test_the_stack_can_be_stopped_while_it_starts(settings: StackSettings) -> None:
    guard = start(settings, "prefect")
    guard.send_signal(signal.SIGTERM)
    assert guard.wait(60) == 0


@pytest.mark.slow
def test_a_killed_supervisor_leaves_no_processes(settings: StackSettings) -> None:
    guard = start(settings, "prefect")
    (supervisor,) = children(guard.pid)
    os.kill(supervisor, signal.SIGKILL)
    assert guard.wait(60) == 1


@pytest.mark.slow
def test_a_killed_guard_leaves_no_processes(settings: StackSettings) -> None:
    guard = start(settings, "prefect")
    guard.kill()
    guard.wait()
    eventually(lambda: not processes_of(settings))


@pytest.mark.slow
def test_a_process_that_cannot_start_stops_the_stack_and_its_output_is_shown(
    settings: StackSettings,
) -> None:
    """The server cannot start here, because the file of its database is not a database."""
    database = settings.home / "prefect" / "prefect.db"
    database.parent.mkdir(parents=True)
    database.write_text("no database, and longer than the header of one: " + "x" * 100)
    with pytest.raises(StackError, match=r"prefect ended by itself(.|\n)*not a database"):
        running(settings).__enter__()


def running(settings: StackSettings) -> Any:
    """A context manager that runs the stack of these settings."""
    return running_stack(settings.home, settings.aws_port, settings.prefect_port)


def start(settings: StackSettings, part: str) -> "subprocess.Popen[bytes]":
    """Start a stack as a script does in the background, and wait until it starts `part`.

    Returns the guard, which is the process that starts the supervisor and stops the stack with it.
    """
    guard = subprocess.Popen(
        [sys.executable, "-m", "deployments.local_stack"],
        env={**os.environ, **settings.as_environment()},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    eventually((settings.logs / f"{part}.log").exists)
    return guard


def processes_of(settings: StackSettings) -> set[int]:
    """The ids of the processes of the stack, which have its home in their environment."""
    marker = f"CLIPFLOW_HOME={settings.home}".encode()
    return {
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and marker in environment_of(entry).split(b"\0")
    }


def environment_of(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:  # has ended, or is owned by another user
        return b""


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill(stack: RunningStack, part: str) -> None:
    """Send SIGKILL to the only process of the stack with this command."""
    (pid,) = (
        pid
        for pid in processes_of(stack.settings)
        if part in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    )
    os.kill(pid, signal.SIGKILL)


def is_healthy(stack: RunningStack) -> bool:
    try:
        return bool(request(stack, "/health"))
    except httpx.TransportError:
        return False


def count_starts(folder: Path) -> int:
    """The number of times that the flow of `sleeper.py` has started with this folder."""
    path = folder / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def start_sleeper(stack: RunningStack, folder: Path) -> str:
    """Start `tests.deployments.sleeper` in the stack's own pool and return the id of the run."""
    flow = request(stack, "/flows/", {"name": "sleeper"})
    deployment = {
        "name": "test",
        "flow_id": flow["id"],
        "entrypoint": "tests.deployments.sleeper.sleep_until_ended",
        "work_pool_name": "clipflow-orchestrate",
        "work_queue_name": "media",
        "pull_steps": [],
        "parameters": {"folder": str(folder)},
    }
    made = request(stack, "/deployments/", deployment)
    return str(request(stack, f"/deployments/{made['id']}/create_flow_run", {})["id"])


def put_event(stack: RunningStack, detail: dict[str, Any]) -> str:
    """Send an event and return its EventBridge id."""
    entry = {
        "Source": "nullcheck.clips",
        "DetailType": "Begin Clip Generation",
        "Detail": json.dumps(detail),
    }
    answer = stack.client("events").put_events(Entries=[entry])
    return str(answer["Entries"][0]["EventId"])


def request(stack: RunningStack, path: str, body: object = None) -> Any:
    """The JSON response of the stack's Prefect server to a GET, or to a POST if there is a body."""
    method = "GET" if body is None else "POST"
    url = f"{stack.env['PREFECT_API_URL']}{path}"
    return httpx.request(method, url, json=body, timeout=20).raise_for_status().json()
