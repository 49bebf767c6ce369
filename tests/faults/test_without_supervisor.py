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
from prefect.states import Cancelling, Crashed

from tests.faults.bare import BareMachine, bare_machine
from tests.faults.killing import RUN, kill, pids, run_in
from tests.faults.tenants import (
    COMPLETE,
    FAILED,
    IN_PROGRESS,
    MADE,
    Episode,
    Tenants,
    event,
    history,
    tiny_source,
)
from tests.faulty_proxy import Fault, Request
from tests.programs import eventually

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(420)]

SHORT = [{"startTime": 0, "endTime": "00:00.4"}]
LONG = [{"startTime": f"00:00.{n % 10}", "endTime": f"00:01.{n % 10}"} for n in range(40)]
EVENTS, CLIPS = 3, 2
OFTEN = 0.06


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareMachine]:
    with bare_machine(tmp_path_factory.mktemp("bare") / "home") as up:
        yield up


@pytest.fixture(scope="module")
def tenants(machine: BareMachine) -> Iterator[Tenants]:
    with closing(Tenants(machine.stack)) as all_of_them:
        yield all_of_them


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_source(tmp_path_factory.mktemp("source") / "main.mp4")


def faults(seed: int) -> list[Fault]:
    """Faults that refuse some requests, and perform others but lose their responses."""
    rng = random.Random(seed)

    def sometimes(_request: Request) -> bool:
        return rng.random() < OFTEN

    return [Fault(sometimes), Fault(sometimes, status=500), Fault(sometimes, after=0)]


def test_random_storage_and_queue_failures_lose_and_duplicate_no_clip(
    machine: BareMachine, tenants: Tenants, source: Path
) -> None:
    names = [f"clip-{n}" for n in range(CLIPS)]
    episodes = [tenants.detect(Episode("t", names), source, SHORT) for _ in range(EVENTS)]
    machine.proxy.faults = faults(seed=1)
    for episode in episodes:
        body = event(episode)
        for _ in range(3):
            tenants.deliver(body)

    def made() -> bool:
        records = tenants.records().values()
        assert FAILED not in [record["status"] for record in records], records
        return all(record["status"] == COMPLETE for record in records)

    eventually(made, 240)
    eventually(lambda: not any(tenants.waiting().values()))
    counts = [fault.count for fault in machine.proxy.faults]
    machine.proxy.faults = []
    assert all(counts), counts
    assert [history(record) for record in tenants.records().values()] == [MADE] * EVENTS * CLIPS


def test_a_record_whose_run_is_killed_leaves_in_progress_within_20_seconds(
    machine: BareMachine, tenants: Tenants, source: Path
) -> None:
    episode, run = at_work(machine, tenants, source)
    kill(run)
    assert leaves_in_progress(tenants, episode, within=20) == "CRASHED"


def test_a_record_whose_run_and_worker_are_killed_leaves_in_progress_within_2_minutes(
    machine: BareMachine, tenants: Tenants, source: Path
) -> None:
    """Also checks that the clip is made without another event once a worker runs again."""
    episode, run = at_work(machine, tenants, source)
    machine.worker.stop(signal.SIGKILL)
    kill(run)
    assert leaves_in_progress(tenants, episode, within=120) == "CRASHED"
    machine.worker.start()
    eventually(lambda: tenants.record(episode, "long")["status"] == COMPLETE, 60)
    assert history(tenants.record(episode, "long")) == [*MADE[:2], FAILED, *MADE[1:]]


def test_a_record_whose_run_is_cancelled_without_a_worker_leaves_in_progress_within_2_minutes(
    machine: BareMachine, tenants: Tenants, source: Path
) -> None:
    episode, run = at_work(machine, tenants, source)
    owner = UUID(tenants.record(episode, "long")["flowRunId"])
    machine.worker.stop(signal.SIGKILL)
    kill(run)
    with client_of(machine) as client:
        client.set_flow_run_state(owner, Cancelling())
    assert leaves_in_progress(tenants, episode, within=120) == "CANCELLED"


def test_a_run_marked_crashed_while_it_works_stops(
    machine: BareMachine, tenants: Tenants, source: Path
) -> None:
    episode, run = at_work(machine, tenants, source, LONG * 4)
    owner = UUID(tenants.record(episode, "long")["flowRunId"])
    with client_of(machine) as client:
        client.set_flow_run_state(owner, Crashed(name="HeartbeatLost"), force=True)
    eventually(lambda: not run_in(run), 60)
    assert leaves_in_progress(tenants, episode, within=20) == "CRASHED"
    made = [entry["Key"] for entry in tenants.objects(episode)]
    assert not [key for key in made if key.endswith("/clip.mp4")]
    assert len(made) < len(LONG * 4)


def client_of(machine: BareMachine) -> SyncPrefectClient:
    return SyncPrefectClient(f"{machine.stack.settings.prefect_url}/api")


def at_work(
    machine: BareMachine, tenants: Tenants, source: Path, segments: list[dict[str, str]] = LONG
) -> tuple[Episode, int]:
    """An episode whose only clip is in progress, and the process that makes it."""
    episode = tenants.detect(Episode("t", ["long"]), source, segments)
    tenants.deliver(event(episode))
    # The time in which an accepted event starts its clips; the worker may just have been started.
    eventually(lambda: tenants.record(episode, "long")["status"] == IN_PROGRESS, 120)
    owner = tenants.record(episode, "long")["flowRunId"]
    [process] = [pid for pid in pids(machine.home, RUN) if run_in(pid) == owner]
    return episode, process


def leaves_in_progress(tenants: Tenants, episode: Episode, within: float) -> str:
    """Wait until the record fails, and return its failure code."""
    began = time.monotonic()
    eventually(lambda: tenants.record(episode, "long")["status"] != IN_PROGRESS, within)
    print(f"left 'in progress' after {time.monotonic() - began:.1f} s")
    error = tenants.record(episode, "long")["processingError"]
    return str(error["code"])
