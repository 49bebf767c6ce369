"""The work pools of many machines: `python -m deployments.work_pools` makes and updates them.

Each `*.json` here is one of them: what sets it apart. The rest of its base job template is that of
prefect-aws, filled from the environment. On one machine there is one pool, and `make up` makes it.
"""

from deployments.work_pools.environment import PoolSettings
from deployments.work_pools.pools import WorkPool, base_job_template, work_pools

__all__ = ["PoolSettings", "WorkPool", "base_job_template", "work_pools"]
