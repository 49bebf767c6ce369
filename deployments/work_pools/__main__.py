"""`python -m deployments.work_pools`: creates or updates the ECS work pools and deploys every flow.

It uses the Prefect server that the environment names. `--check` only validates the settings and
prints the pools.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect_aws.workers.ecs_worker import ECSWorker
from pydantic import ValidationError

from clipflow.domain.model import describe_errors
from deployments.automations import put_automations
from deployments.work_pools import PoolSettings, WorkPool, base_job_template, work_pools
from deployments.work_pools.pools import flows_environment, pool_filter, preserved_settings

DEPLOYMENTS = Path(__file__).parents[2] / "prefect.yaml"


def main() -> int:
    """Creates or updates pools and deployments; returns the exit code.

    It is 2 if a setting is missing, otherwise that of `prefect deploy`.
    """
    try:
        settings = PoolSettings()
        pools = work_pools(gpu=bool(settings.gpu_capacity_provider))
    except ValidationError as error:
        return _report_invalid(describe_errors(error))
    if bool(settings.vpc_id) != bool(settings.subnets):
        return _report_invalid("CLIPFLOW_VPC_ID, CLIPFLOW_SUBNETS: give both or neither")
    for pool in pools:
        print(f"{pool.kind:12} {pool.name}: {pool.launch_type}, {pool.cpu} CPU, {pool.memory} MiB")
    if "--check" in sys.argv[1:]:
        return 0
    for pool in pools:
        create(pool, settings)
    asyncio.run(automate())
    return deploy()


async def automate() -> None:
    """Creates or updates the automations that belong to no deployment."""
    async with get_client() as client:
        await put_automations(client, remote=True)


def create(pool: WorkPool, settings: PoolSettings) -> None:
    """Creates or updates a pool; settings that an operator has changed in Prefect are preserved."""
    default = ECSWorker.get_default_base_job_template()
    template = base_job_template(pool, settings, default, flows_environment())
    with get_client(sync_client=True) as client:
        preserved = preserved_settings(
            client.read_work_pools(work_pool_filter=pool_filter(pool.name))
        )
        if pool.limit or preserved.get("concurrency_limit") is None:
            preserved["concurrency_limit"] = pool.limit or pool.quota_limit
        created = WorkPoolCreate(
            name=pool.name,
            type=ECSWorker.type,
            description=pool.description,
            base_job_template=template,
            **preserved,
        )
        client.create_work_pool(created, overwrite=True)


def deploy() -> int:
    """Deploys every flow to the pools; returns the exit code of `prefect deploy`."""
    command = "prefect --no-prompt deploy --all --prefect-file"
    return subprocess.run(
        [sys.executable, "-m", *command.split(), str(DEPLOYMENTS)],
        check=False,
    ).returncode


def _report_invalid(why: str) -> int:
    print(f"clipflow: {why}. Nothing was changed.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
