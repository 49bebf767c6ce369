"""The concurrency limits of work pools that are computed from the vCPU quotas of Fargate."""

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Pending
from prefect_aws.observers import ecs
from prefect_aws.workers.ecs_worker import ECSJobConfiguration, ECSWorker, ECSWorkerResult

from deployments.work_pools import WorkPool, work_pools, worker
from deployments.work_pools.capacity import SpotDrought, capacity_loss, limits
from tasks.retries import AWAITING_CAPACITY


def vcpu(pools: list[WorkPool], runs: dict[str, int], launch_type: str) -> float:
    """The vCPU that the pools of this launch type use when each has as many runs as allowed."""
    return sum(
        runs[pool.purpose] * pool.cpu / 1024 for pool in pools if pool.launch_type == launch_type
    )


def test_the_quotas_of_the_guide_fit_the_pools() -> None:
    found = limits(work_pools(gpu=False, environment={}), on_demand=30, spot=40)
    assert found.runs == {"media": 10, "marks": 2, "prepare": 1, "orchestrate": 10}
    assert found.notes == ()


@pytest.mark.parametrize("quota", [21, 30, 64, 100, 1000])
def test_the_runs_of_all_pools_together_stay_within_the_quotas(quota: int) -> None:
    pools = work_pools(gpu=False, environment={})
    runs = dict(limits(pools, on_demand=quota, spot=quota).runs)
    services = 4 * 0.5 + 0.25
    assert quota - 1 < vcpu(pools, runs, "FARGATE") + services <= quota
    assert quota - 4 < vcpu(pools, runs, "FARGATE_SPOT") <= quota


def test_the_quota_of_a_new_account_is_reported_and_stops_no_clip() -> None:
    found = limits(work_pools(gpu=False, environment={}), on_demand=6, spot=3)
    assert found.runs == {"media": 1, "marks": 2, "prepare": 1, "orchestrate": 1}
    assert len(found.notes) == 2
    assert "CLIPFLOW_PREPARE_CPU" in found.notes[0]


@pytest.mark.parametrize(("spot", "cpu"), [(320, 16384), (1000, 16384), (160, 8192)])
def test_the_larger_machines_of_a_videos_windows_fit_beside_all_other_runs(
    spot: int, cpu: int
) -> None:
    """ECS would give each place to smaller ones, and they would be refused while those wait."""
    pools = work_pools(gpu=False, environment={"CLIPFLOW_MEDIA_WINDOW_CPU": str(cpu)})
    runs = limits(pools, on_demand=30, spot=spot, windows=10).runs["media"]
    assert spot - 4 < (runs - 10) * 4 + 10 * cpu / 1024 <= spot


def test_windows_that_are_larger_than_the_quota_leave_half_of_it_to_other_runs() -> None:
    pools = work_pools(gpu=False, environment={"CLIPFLOW_MEDIA_WINDOW_CPU": "16384"})
    assert limits(pools, on_demand=30, spot=40, windows=10).runs["media"] == 5


def test_a_pool_on_ec2_instances_has_no_limit() -> None:
    assert "prepare" not in limits(work_pools(gpu=True, environment={}), 30, 40).runs


@pytest.mark.parametrize("tasks_a_minute", [1, 10])
def test_a_spot_drought_of_ten_minutes_delays_tasks_by_five_minutes_at_most(
    tasks_a_minute: int,
) -> None:
    """A clock in seconds: every task is requested again after 40 s, until it has started."""
    drought, ends, timeout, wait = SpotDrought(300), 600.0, 300, 40
    # At first Spot has capacity.
    drought.accepted()
    waiting = [(60.0 * each / tasks_a_minute, 60.0 * each / tasks_a_minute) for each in range(30)]
    started: list[tuple[float, bool]] = []
    while waiting:
        now, arrived = waiting.pop(waiting.index(min(waiting)))
        on_spot = now >= ends
        if on_spot:
            drought.accepted()
        elif not drought.refused(now):
            waiting.append((now + wait, arrived))
            continue
        assert now - arrived <= timeout + wait
        started.append((now, on_spot))
    assert len(started) == 30
    # On demand in the second half of the drought only, and then on Spot again.
    assert {on_spot for now, on_spot in started if now < ends} == {False}
    assert min(now for now, _ in started) >= timeout
    assert all(on_spot for now, on_spot in started if now >= ends)


def test_a_spot_that_accepts_tasks_and_loses_them_is_asked_rarely_until_one_is_kept() -> None:
    """A clock in seconds: a task is requested every ten seconds, and lost a minute later."""
    drought, has_capacity_at = SpotDrought(300), 1500
    lost_at, asked_at = set[int](), list[int]()
    for now in range(0, 2400, 10):
        if now in lost_at:
            drought.lost(now)
        if not drought.should_ask(now):
            continue
        asked_at.append(now)
        drought.accepted()
        if now < has_capacity_at:
            lost_at.add(now + 60)
    # The first loss is known after a minute. The drought is then one of five minutes.
    assert [now for now in asked_at if now < 360] == list(range(0, 360, 10))
    # The task of 1560 is kept, which is known five minutes later.
    assert [now for now in asked_at if 360 <= now < 1860] == [360, 660, 960, 1260, 1560]
    assert [now for now in asked_at if now >= 1860] == list(range(1860, 2400, 10))


def test_two_losses_of_spot_far_apart_are_no_drought() -> None:
    drought = SpotDrought(300)
    for now in (0, 4000, 8000):
        drought.lost(now)
        assert drought.should_ask(now)


@pytest.mark.parametrize(
    ("stop_code", "reason", "is_loss"),
    [
        ("SpotInterruption", "Your Spot Task was interrupted.", True),
        ("TaskFailedToStart", "Capacity is unavailable at this time.", True),
        ("TaskFailedToStart", "CannotPullContainerError: no such image", False),
        ("EssentialContainerExited", "Essential container in task exited", False),
        ("UserInitiated", "Task stopped by user", False),
    ],
)
def test_a_task_that_is_accepted_and_then_lost_for_lack_of_capacity_is_recognised(
    stop_code: str, reason: str, is_loss: bool
) -> None:
    found = capacity_loss({"stopCode": stop_code, "stoppedReason": reason})
    assert (found == reason) is is_loss


def test_the_observer_of_prefect_aws_puts_such_runs_back() -> None:
    """Its handlers are replaced, which fails if a release renames one."""
    handlers = ecs.ecs_observer.event_handlers["task"]
    before = list(handlers)
    try:
        worker.observe_capacity()
        replaced = [new.handler for old, new in zip(before, handlers, strict=True) if old != new]
        assert replaced == [ecs.replicate_ecs_event, worker.put_back_or_crash]
    finally:
        handlers[:] = before


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The launch types that workers ask for."""
    asked = list[str]()

    async def run(
        self: Any, flow_run: FlowRun, configuration: ECSJobConfiguration, task_status: Any = None
    ) -> ECSWorkerResult:
        asked.append(configuration.task_run_request["launchType"])
        return ECSWorkerResult(identifier="task", status_code=0)

    monkeypatch.setattr(ECSWorker, "run", run)
    return asked


def start(spot_worker: worker.ECSWorker, **run: Any) -> None:
    """Let the worker of a pool on Spot start a run."""
    configuration = ECSJobConfiguration.model_construct(
        task_run_request={"launchType": "FARGATE_SPOT"}
    )
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}):
        asyncio.run(spot_worker.run(FlowRun(flow_id=uuid4(), **run), configuration))


def test_a_run_that_spot_has_interrupted_twice_is_started_on_demand(launches: list[str]) -> None:
    for run_count in (0, 1, 2, 3):
        start(worker.ECSWorker(work_pool_name="clipflow-media"), run_count=run_count)
    assert launches == ["FARGATE_SPOT", "FARGATE_SPOT", "FARGATE", "FARGATE"]


def test_a_run_that_is_refused_on_demand_as_well_is_started_on_spot_once_more(
    launches: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parent may hold what is left of the quota on demand, and waits for it."""
    start_one = ECSWorker.run

    async def run(
        self: Any, flow_run: FlowRun, configuration: ECSJobConfiguration, task_status: Any = None
    ) -> ECSWorkerResult:
        result = await start_one(self, flow_run, configuration, task_status)
        if launches[-1] == "FARGATE":
            reached = "You've reached the limit on the number of vCPUs"
            raise RuntimeError(f"Failed to run ECS task: {reached}")
        return result

    monkeypatch.setattr(ECSWorker, "run", run)
    start(worker.ECSWorker(work_pool_name="clipflow-media"), run_count=2)
    assert launches == ["FARGATE", "FARGATE_SPOT"]


def test_a_worker_learns_from_runs_that_spot_loses_their_tasks(
    launches: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any worker's observer may receive the event of a task, so the run's state has to say it."""
    states = list[State[Any]]()

    class Client:
        async def __aenter__(self) -> "Client":
            return self

        async def __aexit__(self, *_: object) -> None: ...

        async def read_flow_run(self, id: UUID) -> FlowRun:
            return FlowRun(flow_id=uuid4(), state=Pending())

        async def read_flow_run_states(self, id: UUID) -> list[State[Any]]:
            return states

    async def propose(client: Client, state: State[Any], flow_run_id: UUID) -> None:
        states.append(state)

    monkeypatch.setattr(worker, "get_client", Client)
    monkeypatch.setattr(worker, "propose_state", propose)
    monkeypatch.setenv("CLIPFLOW_SPOT_TIMEOUT_SECONDS", "60")
    spot_worker = worker.ECSWorker(work_pool_name="clipflow-media")
    monkeypatch.setattr(spot_worker, "_client", Client())
    lost = {"stopCode": "TaskFailedToStart", "stoppedReason": "Capacity is unavailable."}
    tags = {"prefect.io/flow-run-id": str(uuid4())}
    times = ((0, "FARGATE_SPOT"), (60, "FARGATE"), (70, "FARGATE_SPOT"), (71, "FARGATE"))
    for now, provider in times:
        detail = {**lost, "capacityProviderName": provider}
        asyncio.run(worker.put_back_or_crash({"detail": detail}, tags))
        monkeypatch.setattr(time, "monotonic", lambda now=now: float(now))
        start(spot_worker, state_name=AWAITING_CAPACITY)
    # The drought has lasted for a minute at 70, when Spot is asked once more.
    assert launches == ["FARGATE_SPOT"] * 3 + ["FARGATE"]
