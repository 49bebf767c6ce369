"""The machines of single deployments on ECS, where another size than their pool's is cheaper.

Each is a set of Prefect's job variables, in the deployment that `python -m deployments.work_pools`
creates. prefect.yaml has none of them, because its deployments also run in process pools.
"""

from collections.abc import Sequence
from typing import Any

import yaml

from deployments.work_pools.pools import WorkPool
from deployments.work_pools.warm import flow_of
from tasks.flow_runs import BEGIN_CLIP_GENERATION

# The family of their task definitions. With the pool's family, each change of size would register a
# revision of its own.
BEGIN_FAMILY = "clipflow-begin"
# Starting the runs of an event's clips takes 2.1 CPU-seconds, of which most are the start of
# Python, and 143 MB, and needs no disk. Fargate bills a minute of it.
_BEGIN_CPU, _BEGIN_MEMORY, _BEGIN_STORAGE = 256, 512, 21
# Prefect's `flow-run execute` starts two more Pythons, to prepare the run and to watch it, which
# takes 4.6 CPU-seconds. It would reschedule the run after a signal; without it, a run that is lost
# is started again once, and starts no clip twice.
_ENGINE = "python -m prefect.engine"


def own_machine(flow: str) -> dict[str, Any]:
    """The job variables of a flow's machine on ECS; none if it is its pool's."""
    if flow != BEGIN_CLIP_GENERATION:
        return {}
    return {
        "cpu": _BEGIN_CPU,
        "memory": _BEGIN_MEMORY,
        "storage_gib": _BEGIN_STORAGE,
        "family": BEGIN_FAMILY,
        "command": _ENGINE,
    }


def with_own_machines(prefect_yaml: str, pools: Sequence[WorkPool]) -> str:
    """The content of prefect.yaml with the machines of its deployments in these pools."""
    names = {pool.name for pool in pools}
    read: dict[str, Any] = yaml.safe_load(prefect_yaml)
    for deployment in read["deployments"]:
        work_pool = deployment["work_pool"]
        if work_pool["name"] in names:
            own = own_machine(flow_of(deployment))
            work_pool["job_variables"] = {**work_pool["job_variables"], **own}
    return yaml.safe_dump(read, sort_keys=False)
