"""The concurrency limits of work pools that are computed from the vCPU quotas of Fargate."""

import pytest

from deployments.work_pools import WorkPool, work_pools
from deployments.work_pools.capacity import limits


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
