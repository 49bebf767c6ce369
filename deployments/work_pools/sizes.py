"""The machines of single deployments on ECS, where another size than their pool's is cheaper.

Each is a set of Prefect's job variables, in the deployment that `python -m deployments.work_pools`
creates. prefect.yaml has none of them, because its deployments also run in process pools.
"""

from collections.abc import Sequence
from typing import Any

import yaml

from deployments.work_pools.pools import WorkPool
from deployments.work_pools.warm import COMMAND, flow_of
from tasks.flow_runs import BEGIN_CLIP_GENERATION

# A family of its own: with the pool's, each change of size would register a revision.
BEGIN_FAMILY = "clipflow-begin"
# The job variables of flows whose machines are not their pool's.
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


def with_own_machines(prefect_yaml: str, pools: Sequence[WorkPool]) -> str:
    """The content of prefect.yaml with the machines of its deployments in these pools."""
    names = {pool.name for pool in pools}
    read: dict[str, Any] = yaml.safe_load(prefect_yaml)
    for deployment in read["deployments"]:
        work_pool = deployment["work_pool"]
        if work_pool["name"] in names:
            own = OWN_MACHINES.get(flow_of(deployment), {})
            work_pool["job_variables"] = {**work_pool["job_variables"], **own}
    return yaml.safe_dump(read, sort_keys=False)
