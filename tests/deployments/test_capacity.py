"""The concurrency limits of work pools that are computed from the vCPU quotas of Fargate."""

import pytest
from prefect_aws.observers import ecs

from deployments.work_pools import WorkPool, work_pools, worker
from deployments.work_pools.capacity import SpotDrought, capacity_loss, limits


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
    """Its handler is replaced, which fails if a release renames it."""
    handlers = ecs.ecs_observer.event_handlers["task"]
    before = list(handlers)
    try:
        worker.observe_capacity()
        changed = [new.handler for old, new in zip(before, handlers, strict=True) if old != new]
        assert changed == [worker.put_back_or_crash]
    finally:
        handlers[:] = before
