"""The machines of single deployments on ECS, where another size than their pool's is better.

Each is a set of Prefect's job variables, in the deployment that `python -m deployments.work_pools`
creates. prefect.yaml has none of them, because its deployments also run in process pools.
"""

from collections.abc import Sequence
from typing import Any

import yaml

from clipflow.settings import Models
from clipflow.speech.model_cost import cpu_seconds_a_second
from clipflow.speech.transcriber import TRANSCRIBERS
from deployments.work_pools.pools import WorkPool, fargate_memory
from deployments.work_pools.warm import COMMAND, flow_of
from tasks.flow_runs import BEGIN_CLIP_GENERATION, TRANSCRIBE_WINDOW

# Families of their own: with the pool's, each change of size would register a revision.
BEGIN_FAMILY, WINDOW_FAMILY = "clipflow-begin", "clipflow-window"
# The job variables of flows whose machines are never their pool's.
OWN_MACHINES: dict[str, dict[str, Any]] = {
    # Starting the runs of an event's clips takes 2.1 CPU-seconds, of which most are the start of
    # Python, and 143 MB, and needs no disk. Fargate bills a minute of it.
    BEGIN_CLIP_GENERATION: {
        "cpu": 256,
        "memory": 512,
        "storage_gib": 21,
        "family": BEGIN_FAMILY,
        # The command of the pool starts another Python, which watches the run: 1.5 CPU-seconds. It
        # would reschedule the run after a signal; without it, a run that is lost is started again
        # once, and starts no clip twice.
        "command": COMMAND,
    }
}
# How many times as many CPU units as the pool's a window gets, by the least CPU-seconds that its
# model takes for a second of sound. With the pool's, one of `large-v3` would take seven minutes.
_FACTORS = ((2.0, 4), (1.0, 2))
_LARGEST_CPU = 16384


def window_cost(models: Models) -> float:
    """The estimated CPU-seconds for a second of sound on a machine of its own; 0 if windows have
    none."""
    distributed = TRANSCRIBERS[models.transcriber].is_distributed
    return cpu_seconds_a_second(models.whisper_model) if distributed else 0.0


def window_cpu(pool: WorkPool, cost: float, at_once: int, spot: float) -> int:
    """The CPU units of a machine that transcribes a window in this pool, by the CPU-seconds for a
    second of sound.

    `spot` is the quota of Spot in vCPU. All windows that a video has `at_once` take at most half of
    it, so that they start while other runs of the pool go on, or their machines are the pool's.
    """
    factor = next((factor for least, factor in _FACTORS if cost >= least), 1)
    cpu = min(factor * pool.cpu, _LARGEST_CPU) if pool.launch_type == "FARGATE_SPOT" else pool.cpu
    while cpu > pool.cpu and at_once * cpu > spot * 1024 / 2:
        cpu //= 2
    return cpu


def own_machine(flow: str, pool: WorkPool) -> dict[str, Any]:
    """The job variables of a flow's machine in this pool; none if it is the pool's."""
    if flow == TRANSCRIBE_WINDOW and pool.window_cpu and pool.window_cpu != pool.cpu:
        memory = fargate_memory(pool.window_cpu, pool.memory)
        return {"cpu": pool.window_cpu, "memory": memory, "family": WINDOW_FAMILY}
    return OWN_MACHINES.get(flow, {})


def with_own_machines(prefect_yaml: str, pools: Sequence[WorkPool]) -> str:
    """The content of prefect.yaml with the machines of its deployments in these pools."""
    by_name = {pool.name: pool for pool in pools}
    read: dict[str, Any] = yaml.safe_load(prefect_yaml)
    for deployment in read["deployments"]:
        work_pool = deployment["work_pool"]
        if pool := by_name.get(work_pool["name"]):
            own = own_machine(flow_of(deployment), pool)
            work_pool["job_variables"] = {**work_pool["job_variables"], **own}
    return yaml.safe_dump(read, sort_keys=False)
