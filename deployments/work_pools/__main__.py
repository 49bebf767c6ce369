"""`python -m deployments.work_pools`: creates or updates the ECS work pools and deploys every flow.

It uses the Prefect server that the environment names. `--check` only validates the settings and
prints the pools.
"""

import asyncio
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.workers.process import ProcessWorker
from prefect_aws.workers.ecs_worker import ECSWorker
from pydantic import ValidationError

from clipflow.domain.model import describe_errors
from deployments.automations import remove_retired_automations
from deployments.work_pools import PoolSettings, WorkPool, base_job_template, warm, work_pools
from deployments.work_pools.fewer_requests import server_variables
from deployments.work_pools.pools import flows_environment, pool_filter, preserved_settings
from deployments.work_pools.sizes import own_machine, with_own_machines
from tasks.flow_runs import TRANSCRIBE_WINDOW

DEPLOYMENTS = Path(__file__).parents[2] / "prefect.yaml"


def main() -> int:
    """Creates or updates pools and deployments; returns the exit code.

    It is 2 if a setting is missing, otherwise that of `prefect deploy`.
    """
    try:
        settings = PoolSettings()
        pools = work_pools(gpu=bool(settings.gpu_capacity_provider))
        machines = warm.WarmSettings()
    except ValidationError as error:
        return _report_invalid(describe_errors(error))
    if bool(settings.vpc_id) != bool(settings.subnets):
        return _report_invalid("CLIPFLOW_VPC_ID, CLIPFLOW_SUBNETS: give both or neither")
    for pool in pools:
        print(f"{pool.kind:12} {pool.name}: {pool.launch_type}, {pool.cpu} CPU, {pool.memory} MiB")
        if own := own_machine(TRANSCRIBE_WINDOW, pool):
            size = f"{own['cpu']} CPU, {own['memory']} MiB"
            print(f"{'window':12} {pool.name}: {pool.launch_type}, {size}")
    if machines.most:
        print(f"{'warm':12} {warm.POOL}: process, {machines.machines} machines")
    if "--check" in sys.argv[1:]:
        return 0
    variables = server_variables()
    for pool in pools:
        create(pool, settings, variables)
    if machines.most:
        create_warm()
    asyncio.run(clean_up())
    return deploy(machines, pools)


async def clean_up() -> None:
    """Deletes what earlier releases created in Prefect and this one does not need."""
    async with get_client() as client:
        await remove_retired_automations(client)


def create(pool: WorkPool, settings: PoolSettings, variables: dict[str, str]) -> None:
    """Creates or updates a pool; settings that an operator has changed in Prefect are preserved."""
    default = ECSWorker.get_default_base_job_template()
    environment = {**flows_environment(), **variables}
    template = base_job_template(pool, settings, default, environment)
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


def create_warm() -> None:
    """Creates or updates the pool of the warm machines; an operator's settings are preserved."""
    with get_client(sync_client=True) as client:
        found = client.read_work_pools(work_pool_filter=pool_filter(warm.POOL))
        created = WorkPoolCreate(
            name=warm.POOL,
            type=ProcessWorker.type,
            description=warm.DESCRIPTION,
            base_job_template=warm.job_template(ProcessWorker.get_default_base_job_template()),
            **preserved_settings(found),
        )
        client.create_work_pool(created, overwrite=True)


def deploy(machines: warm.WarmSettings, pools: list[WorkPool]) -> int:
    """Deploys every flow to the pools; returns the exit code of `prefect deploy`."""
    command = "prefect --no-prompt deploy --all --prefect-file"
    with TemporaryDirectory() as folder:
        file = Path(folder, DEPLOYMENTS.name)
        routed = warm.routed(DEPLOYMENTS.read_text(), machines)
        file.write_text(with_own_machines(routed, pools))
        return subprocess.run(
            [sys.executable, "-m", *command.split(), str(file)],
            check=False,
        ).returncode


def _report_invalid(why: str) -> int:
    print(f"clipflow: {why}. Nothing was changed.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
