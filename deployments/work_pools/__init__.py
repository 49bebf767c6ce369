"""The ECS work pools: `python -m deployments.work_pools` creates and updates them.

Each `*.json` here has the values of one pool. The rest of its base job template is that of
prefect-aws, with defaults from the environment. On one machine, `make up` creates process pools of
the same names.
"""

from deployments.work_pools.pools import PoolSettings, WorkPool, base_job_template, work_pools

__all__ = ["PoolSettings", "WorkPool", "base_job_template", "work_pools"]
