"""Recovery when no supervisor restarts processes and S3, DynamoDB and SQS fail at random."""

import random
import signal
import time
from pathlib import Path
from uuid import UUID

import pytest
from prefect.states import Cancelling, Crashed

from tests.faults.processes import flow_run_of, kill
from tests.faults.tenants import (
    COMPLETE,
    FAILED,
    IN_PROGRESS,
    MADE,
    Episode,
    Tenants,
    event_message,
    history,
)
from tests.faults.unsupervised import LONG, UnsupervisedMachine, client_of, start_clip
from tests.faulty_proxy import Fault, Request
from tests.programs import eventually

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SHORT = [{"startTime": 0, "endTime": "00:00.4"}]
EVENTS, CLIPS = 3, 2
# The probability with which each kind of fault is injected into a request.
FAULT_RATE = 0.06


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


def failure_code_within(tenants: Tenants, episode: Episode, within: float) -> str:
    """Wait until the record is no longer in progress, and return the code of its failure."""
    began = time.monotonic()
    eventually(lambda: tenants.record(episode, "long")["status"] != IN_PROGRESS, within)
    print(f"left 'in progress' after {time.monotonic() - began:.1f} s")
    error = tenants.record(episode, "long")["processingError"]
    return str(error["code"])
