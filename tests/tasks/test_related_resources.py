"""The related resources of a run's events, which its process knows without the Prefect server."""

import asyncio
from uuid import uuid4

import pytest
from prefect import flow, get_client, task
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events import worker
from prefect.events.related import related_resources_from_run_context
from prefect.events.schemas.events import RelatedResource
from prefect.flow_engine import run_flow

import flows  # noqa: F401 - changes Prefect, as for every flow of clipflow
from tasks.related_resources import related_resources

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("prefect_api")]
Found = dict[str, RelatedResource]


def by_id(resources: list[RelatedResource]) -> Found:
    return {resource.id: resource for resource in resources}


async def from_both() -> tuple[Found, Found]:
    """The resources of the current run and step, and those for which Prefect asks the server."""
    async with get_client() as client:
        own = by_id(await related_resources(client))
        return own, by_id(await related_resources_from_run_context(client))


@pytest.mark.parametrize("deployed", [True, False])
def test_they_are_those_of_prefect(deployed: bool) -> None:
    found: list[tuple[Found, Found]] = []

    @task(tags=["step"])
    def step() -> None:
        found.append(asyncio.run(from_both()))

    @flow(name=f"job-{uuid4().hex}")
    def job() -> None:
        step()
        found.append(asyncio.run(from_both()))

    pool = f"pool-{uuid4().hex}"
    with get_client(sync_client=True) as client:
        if deployed:
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
            deployment = client.create_deployment(
                client.create_flow(job), "clipflow", work_pool_name=pool
            )
            run = client.create_flow_run_from_deployment(deployment, tags=["run"])
        else:
            run = client.create_flow_run(job, tags=["run"])
    run_flow(job, flow_run=run)

    for own, prefects in found:
        assert own == prefects
    kinds = {resource.role for resource in found[0][0].values()}
    of_deployment = {"deployment", "work-pool", "work-queue"} if deployed else set()
    assert kinds == {"flow-run", "task-run", "flow", "tag", *of_deployment}


def test_every_event_of_a_run_gets_them() -> None:
    assert vars(worker)["related_resources_from_run_context"] is related_resources
