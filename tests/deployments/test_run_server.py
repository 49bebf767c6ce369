"""The run server forks each run: output, exit code and signals, as Prefect's worker sees them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from deployments.local_stack.run_client import ADDRESS, client_command
from tests.programs import ROOT, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux only"),
]

# The program of a run. It prints whether Prefect was already imported, its process id, its folder
# and the variable that names the test case.
PROGRAM = """
import os, signal, sys, time
print("prefect" in sys.modules, os.getpid(), os.getcwd(), os.environ["PREFECT__RUN"], flush=True)
if os.environ["PREFECT__RUN"] == "waits":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    print("waiting", flush=True)
    time.sleep(60)
if os.environ["PREFECT__RUN"] == "inherits":
    import boto3, json, threading
    from prefect.client.orchestration import get_client
    from clipflow.settings import settings
    from clipflow.storage.aws import events_client, records_table, s3_client
    cached = (settings, events_client, records_table, s3_client)
    print(json.dumps({
        "files": sorted(os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                        if os.path.exists(f"/proc/self/fd/{n}")),
        "threads": [thread.name for thread in threading.enumerate()],
        "names": sorted(os.environ),
        "cached": [one.cache_info().currsize for one in cached],
        "credentials": str(boto3.DEFAULT_SESSION._session._credentials),
        "models": len(boto3.DEFAULT_SESSION._session.get_component("data_loader")._cache),
    }))
    os.environ["LEFT_BY_A_RUN"] = "secret"
    kept = open("left-by-a-run", "w")
    settings()
if os.environ["PREFECT__RUN"] == "decodes":
    from clipflow.media.isolation import isolated
    print(isolated("source.mp4", os.getppid), flush=True)
    time.sleep(60)
sys.exit(3)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a running run server and of its clients."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "program.py").write_text(PROGRAM)
    path = os.pathsep.join([str(ROOT), str(folder)])
    environment = {**os.environ, ADDRESS: str(folder / "socket"), "PYTHONPATH": path}
    with serving(environment):
        yield environment


def test_a_run_has_its_own_environment_folder_output_and_exit_code(
    environment: dict[str, str], tmp_path: Path
) -> None:
    first, second = (start_run({**environment, "PREFECT__RUN": name}, tmp_path) for name in "ab")
    for run, name in ((first, "a"), (second, "b")):
        imported, pid, folder, variable = run.communicate(timeout=60)[0].split()
        assert (imported, folder, variable) == ("True", str(tmp_path), name)
        assert int(pid) not in (first.pid, second.pid)
        assert run.returncode == 3


def test_a_run_inherits_nothing_of_an_earlier_run(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Neither files, threads, variables, credentials nor cached settings and clients."""
    found = []
    for _ in range(2):
        run = start_run({**environment, "PREFECT__RUN": "inherits"}, tmp_path)
        found.append(json.loads(run.communicate(timeout=60)[0].splitlines()[1]))
    for one in found:
        sockets = [file for file in one["files"] if file.startswith("socket:")]
        others = {file.partition(":")[0] for file in one["files"]} - {"socket"}
        # Its client's, and that of the fork server for decoders.
        assert len(sockets) == 2
        assert not [file for file in others if "left-by-a-run" in file or file.endswith(".db")]
        assert len(one["threads"]) == 2, "the main thread, and the one that forwards signals"
        assert "LEFT_BY_A_RUN" not in one["names"]
        assert one["cached"] == [0, 0, 0, 0]
        assert one["credentials"] == "None"
        assert one["models"], "the SDK's descriptions of services are loaded before the fork"
    assert len(found[0]["files"]) == len(found[1]["files"])
    assert found[0]["names"] == found[1]["names"]


def test_signals_reach_the_run(environment: dict[str, str], tmp_path: Path) -> None:
    with waiting_run(environment, tmp_path) as (run, _):
        run.terminate()
        assert run.wait(timeout=60) == 7


def test_the_run_and_its_client_end_together(environment: dict[str, str], tmp_path: Path) -> None:
    with waiting_run(environment, tmp_path) as (run, pid):
        run.kill()
        eventually(lambda: not Path(f"/proc/{pid}").exists())
    with waiting_run(environment, tmp_path) as (run, pid):
        os.kill(pid, signal.SIGKILL)
        assert run.wait(timeout=60) == -signal.SIGKILL


def test_decoders_are_forked_and_start_no_new_python(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with start_run({**environment, "PREFECT__RUN": "decodes"}, tmp_path) as run:
        assert run.stdout
        run.stdout.readline()
        fork_server = Path("/proc", run.stdout.readline().strip())
        assert b"run_server" in (fork_server / "cmdline").read_bytes()
        assert Path(fork_server, "fd/0").readlink() == Path("/dev/null")
        # It shares the run's output, and has only its own three sockets when the call has ended.
        eventually(lambda: sockets_of(fork_server) == 3)
        run.kill()
        eventually(lambda: not fork_server.exists())


@pytest.mark.parametrize(
    "changed", [{"CLIPFLOW_CORES": "7"}, {"PREFECT_LOGGING_LEVEL": "ERROR"}, {ADDRESS: "none"}]
)
def test_a_run_whose_settings_differ_from_the_servers_starts_its_own_python(
    environment: dict[str, str], tmp_path: Path, changed: dict[str, str]
) -> None:
    run = start_run({**environment, **changed, "PREFECT__RUN": "a"}, tmp_path)
    imported, pid, *_ = run.communicate(timeout=60)[0].split()
    assert (imported, int(pid), run.returncode) == ("False", run.pid, 3)


def test_a_run_continues_without_the_run_server(
    environment: dict[str, str], tmp_path: Path
) -> None:
    other = {**environment, ADDRESS: str(tmp_path / "socket")}
    with ExitStack() as runs:
        with serving(other) as server:
            run, _ = runs.enter_context(waiting_run(other, tmp_path))
            server.kill()
        run.terminate()
        assert run.wait(timeout=60) == 7


def sockets_of(process: Path) -> int:
    return sum(str(file.readlink()).startswith("socket:") for file in (process / "fd").iterdir())


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a run server, and wait until it has imported the modules that runs share."""
    command = [sys.executable, "-m", "deployments.local_stack.run_server"]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout and server.stdout.readline() == b"ready\n"
        yield server
        server.terminate()


def start_run(environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        client_command([sys.executable, "-m", "program"]),
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def waiting_run(
    environment: dict[str, str], folder: Path
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start a run that waits for a signal. Yields its client and the process id of the run."""
    with start_run({**environment, "PREFECT__RUN": "waits"}, folder) as run:
        assert run.stdout
        imported, pid, *_ = run.stdout.readline().split()
        assert imported == "True"
        assert run.stdout.readline() == "waiting\n"
        yield run, int(pid)
