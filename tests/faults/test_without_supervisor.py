"""Recovery when no supervisor restarts processes and S3, DynamoDB and SQS fail at random."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelling, Crashed

from clipflow.domain.keys import ClipKeys
from tasks.child_requests import record_tag
from tests.faults.observers import ObjectObserver, observing
from tests.faults.processes import RUN, flow_run_of, kill, pids
from tests.faults.tenants import (
    COMPLETE,
    FAILED,
    IN_PROGRESS,
    MADE,
    Episode,
    Tenants,
    event_message,
    history,
    tiny_source,
)
from tests.faults.unsupervised import UnsupervisedMachine, unsupervised_machine
from tests.faulty_proxy import Fault, Request
from tests.programs import eventually

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SHORT = [{"startTime": 0, "endTime": "00:00.4"}]
LONG = [{"startTime": f"00:00.{n % 10}", "endTime": f"00:01.{n % 10}"} for n in range(40)]
EVENTS, CLIPS = 3, 2
# The probability with which each kind of fault is injected into a request.
FAULT_RATE = 0.06
# How long Prefect is away: longer than its client's own retries last, and than a run may be silent.
AWAY_SECONDS = 100
# The longest wait of a client, and the start of the server.
REPORTED_SECONDS = 120


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnsupervisedMachine]:
    with unsupervised_machine(tmp_path_factory.mktemp("machine") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def tenants(machine: UnsupervisedMachine) -> Iterator[Tenants]:
    with closing(Tenants(machine.stack)) as clients:
        yield clients


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_source(tmp_path_factory.mktemp("source") / "main.mp4")


def faults(seed: int) -> list[Fault]:
    """Faults that refuse some requests, and forward others but drop their responses."""
    rng = random.Random(seed)

    def sometimes(_request: Request) -> bool:
        return rng.random() < FAULT_RATE

    return [Fault(sometimes), Fault(sometimes, status=500), Fault(sometimes, after=0)]


def test_random_storage_and_queue_failures_lose_and_duplicate_no_clip(
    machine: UnsupervisedMachine, tenants: Tenants, source: Path
) -> None:
    names = [f"clip-{n}" for n in range(CLIPS)]
    episodes = [tenants.detect(Episode("t", names), source, SHORT) for _ in range(EVENTS)]
    machine.proxy.faults = faults(seed=1)
    for episode in episodes:
        body = event_message(episode)
        for _ in range(3):
            tenants.deliver(body)

    def made() -> bool:
        records = tenants.records().values()
        assert FAILED not in [record["status"] for record in records], records
        return all(record["status"] == COMPLETE for record in records)

    eventually(made, 240)
    eventually(lambda: not any(tenants.message_counts().values()))
    counts = [fault.count for fault in machine.proxy.faults]
    machine.proxy.faults = []
    assert all(counts), counts
    assert [history(record) for record in tenants.records().values()] == [MADE] * EVENTS * CLIPS


def test_a_record_whose_run_is_killed_leaves_in_progress_within_20_seconds(
    machine: UnsupervisedMachine, tenants: Tenants, source: Path
) -> None:
    episode, run = start_clip(machine, tenants, source)
    kill(run)
    assert failure_code_within(tenants, episode, within=20) == "CRASHED"


def test_a_record_whose_run_and_worker_are_killed_leaves_in_progress_within_2_minutes(
    machine: UnsupervisedMachine, tenants: Tenants, source: Path
) -> None:
    """When a worker runs again, the clip is made without another event."""
    episode, run = start_clip(machine, tenants, source)
    machine.worker.stop(signal.SIGKILL)
    kill(run)
    assert failure_code_within(tenants, episode, within=120) == "CRASHED"
    machine.worker.start()
    eventually(lambda: tenants.record(episode, "long")["status"] == COMPLETE, 60)
    assert history(tenants.record(episode, "long")) == [*MADE[:2], FAILED, *MADE[1:]]


def test_a_record_whose_run_is_cancelled_without_a_worker_leaves_in_progress_within_2_minutes(
    machine: UnsupervisedMachine, tenants: Tenants, source: Path
) -> None:
    episode, run = start_clip(machine, tenants, source)
    owner = UUID(tenants.record(episode, "long")["flowRunId"])
    machine.worker.stop(signal.SIGKILL)
    kill(run)
    with client_of(machine) as client:
        client.set_flow_run_state(owner, Cancelling())
    assert failure_code_within(tenants, episode, within=120) == "CANCELLED"
    # For the next test.
    machine.worker.start()


def test_a_run_marked_crashed_while_it_works_stops(
    machine: UnsupervisedMachine, tenants: Tenants, source: Path
) -> None:
    episode, run = start_clip(machine, tenants, source, LONG * 4)
    owner = UUID(tenants.record(episode, "long")["flowRunId"])
    with client_of(machine) as client:
        client.set_flow_run_state(owner, Crashed(name="HeartbeatLost"), force=True)
    eventually(lambda: not flow_run_of(run), 60)
    assert failure_code_within(tenants, episode, within=20) == "CRASHED"
    made = [entry["Key"] for entry in tenants.objects(episode)]
    assert not [key for key in made if key.endswith("/clip.mp4")]
    assert len(made) < len(LONG * 4)


def test_runs_continue_while_prefect_is_away_and_report_afterwards(
    machine: UnsupervisedMachine, tenants: Tenants, source: Path
) -> None:
    """One run works in its own process, and one waits for child runs."""
    parent = tenants.detect(Episode("t", ["long"]), source, LONG)
    with client_of(machine) as client:
        remote = start_with_children(client, parent)
        alone, _ = start_clip(machine, tenants, source, LONG * 3)
        local = UUID(tenants.record(alone, "long")["flowRunId"])
        children = eventually(lambda: running_children(client, parent))
    reader = ObjectObserver(tenants)
    with observing(reader.check, reader, 1):
        machine.prefect.stop(signal.SIGKILL)
        away_until = time.monotonic() + AWAY_SECONDS
        eventually(lambda: tenants.record(alone, "long")["status"] == COMPLETE, 300)
        eventually(lambda: time.monotonic() > away_until, AWAY_SECONDS + 1)
        machine.prefect.start()
        eventually(lambda: tenants.record(parent, "long")["status"] == COMPLETE, REPORTED_SECONDS)
        with client_of(machine) as client:
            runs = [local, remote, *children]
            for run in runs:
                eventually(lambda run=run: last_state(client, run).is_final(), REPORTED_SECONDS)  # type: ignore[misc]
            assert {last_state(client, run).name for run in runs} == {"Completed"}
    reader.check()
    for episode in (alone, parent):
        assert history(tenants.record(episode, "long")) == MADE
        keys = [entry["Key"] for entry in tenants.objects(episode)]
        assert [len(reader.versions[key]) for key in keys] == [1] * len(keys)


def client_of(machine: UnsupervisedMachine) -> SyncPrefectClient:
    return SyncPrefectClient(f"{machine.stack.settings.prefect_url}/api")


def last_state(client: SyncPrefectClient, run: UUID) -> State[object]:
    state = client.read_flow_run(run).state
    assert state
    return state


def start_with_children(client: SyncPrefectClient, episode: Episode) -> UUID:
    """Start the run of the episode's only clip, whose segments are cut by two runs of their own."""
    deployment = client.read_deployment_by_name("generate-clip/clipflow").id
    remotely = {
        "CLIPFLOW_FAN_OUT": "remote",
        "CLIPFLOW_MACHINE_CPU_SECONDS": "1",
        "MAX_PARALLEL_SEGMENTS": "2",
    }
    return client.create_flow_run_from_deployment(
        deployment,
        parameters={"tenant_id": "t", "episode_id": episode.id, "clip_id": "long"},
        job_variables={"env": remotely},
    ).id


def running_children(client: SyncPrefectClient, episode: Episode) -> list[UUID]:
    """The child runs of the episode's only clip that are running."""
    tags = FlowRunFilterTags(all_=[record_tag(ClipKeys("t", episode.id, "long"))])
    runs: list[FlowRun] = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tags))
    return [run.id for run in runs if run.state and run.state.is_running()]


def start_clip(
    machine: UnsupervisedMachine,
    tenants: Tenants,
    source: Path,
    segments: list[dict[str, str]] = LONG,
) -> tuple[Episode, int]:
    """Request the only clip of a new episode, and wait until it is in progress.

    Returns the episode and the process id of the run that makes the clip.
    """
    episode = tenants.detect(Episode("t", ["long"]), source, segments)
    tenants.deliver(event_message(episode))
    # The time in which an accepted event starts its clips; the worker may just have been started.
    eventually(lambda: tenants.record(episode, "long")["status"] == IN_PROGRESS)
    owner = tenants.record(episode, "long")["flowRunId"]
    [process] = [pid for pid in pids(machine.home, RUN) if flow_run_of(pid) == owner]
    return episode, process


def failure_code_within(tenants: Tenants, episode: Episode, within: float) -> str:
    """Wait until the record is no longer in progress, and return the code of its failure."""
    began = time.monotonic()
    eventually(lambda: tenants.record(episode, "long")["status"] != IN_PROGRESS, within)
    print(f"left 'in progress' after {time.monotonic() - began:.1f} s")
    error = tenants.record(episode, "long")["processingError"]
    return str(error["code"])
