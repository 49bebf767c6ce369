"""The machines of single deployments on ECS, where another size than their pool's is cheaper.

Each is a set of Prefect's job variables, in the deployment that `python -m deployments.work_pools`
creates. prefect.yaml has none of them, because its deployments also run in process pools.
"""

from collections.abc import Sequence
from typing import Any

import yaml

from clipflow.settings import Models
from clipflow.speech.model_cost import cpu_seconds_a_second, machine_factor
from clipflow.speech.transcriber import TRANSCRIBERS
from deployments.work_pools.pools import WorkPool, fargate_memory
from deployments.work_pools.warm import flow_of
from tasks.flow_runs import BEGIN_CLIP_GENERATION

TRANSCRIBE_WINDOW = "transcribe-window"
# Starting the runs of an event's clips takes 2.1 CPU-seconds, of which most are the start of
# Python, and 143 MB, and needs no disk. Fargate bills a minute of it.
_BEGIN_CPU, _BEGIN_MEMORY, _BEGIN_STORAGE = 256, 512, 21
# Prefect's `flow-run execute` starts two more Pythons, to prepare the run and to watch it, which
# takes 4.6 CPU-seconds. It would reschedule the run after a signal. This run is started again if it
# is lost, and starts no clip twice.
_ENGINE = "python -m prefect.engine"
_LARGEST_CPU = 16384


def machine_of(flow: str, pool: WorkPool, models: Models) -> dict[str, Any]:
    """The job variables of a flow's machine in this pool; none if it is the pool's."""
    if flow == BEGIN_CLIP_GENERATION and pool.cpu >= _BEGIN_CPU:
        begin = _machine("begin", _BEGIN_CPU, _BEGIN_MEMORY)
        return {**begin, "storage_gib": _BEGIN_STORAGE, "command": _ENGINE}
    if flow == TRANSCRIBE_WINDOW and TRANSCRIBERS[models.transcriber].is_distributed:
        factor = machine_factor(cpu_seconds_a_second(models.whisper_model))
        cpu = min(factor * pool.cpu, max(_LARGEST_CPU, pool.cpu))
        if cpu > pool.cpu:
            return _machine("window", cpu, fargate_memory(cpu, pool.memory))
    return {}


def _machine(kind: str, cpu: int, memory: int) -> dict[str, Any]:
    # With the pool's family, each change of size would register a revision of its own.
    return {"cpu": cpu, "memory": memory, "family": f"clipflow-{kind}"}


def sized(prefect_yaml: str, pools: Sequence[WorkPool], models: Models) -> str:
    """The content of prefect.yaml with the machines of its deployments in these pools."""
    by_name = {pool.name: pool for pool in pools}
    read: dict[str, Any] = yaml.safe_load(prefect_yaml)
    for deployment in read["deployments"]:
        work_pool = deployment["work_pool"]
        if pool := by_name.get(work_pool["name"]):
            own = machine_of(flow_of(deployment), pool, models)
            work_pool["job_variables"] = {**work_pool["job_variables"], **own}
    return yaml.safe_dump(read, sort_keys=False)
