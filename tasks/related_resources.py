"""The related resources of a run's events, without asking the Prefect server for them.

Prefect adds a run's flow, deployment, work pool and work queue to each event that the run sends,
and each process reads the four from the server first. A run knows all of them, except for the
deployment's tags. This can be removed when Prefect does not read them.
"""

from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.events import worker
from prefect.events.related import (
    object_as_related_resource,
    related_resources_from_run_context,
    tags_as_related_resources,
)
from prefect.events.schemas.events import RelatedResource

# The name of all deployments in prefect.yaml.
_DEPLOYMENT = "clipflow"


@dataclass(frozen=True)
class _Named:
    """What Prefect reads of an object to make a resource of it."""

    id: UUID
    name: str


async def related_resources(
    client: PrefectClient, exclude: set[str] | None = None
) -> list[RelatedResource]:
    """As Prefect's function, from the context of a flow; otherwise from the server."""
    context, step = FlowRunContext.get(), TaskRunContext.get()
    if context is None or context.flow_run is None or context.flow is None:
        return await related_resources_from_run_context(client, exclude)
    run = context.flow_run
    found = [
        object_as_related_resource(kind, kind, object)
        for kind, object in [
            ("flow-run", run),
            ("task-run", step and step.task_run),
            *_surroundings(run, context.flow.name).items(),
        ]
        if object
    ]
    tags = {*run.tags, *(step.task_run.tags if step else ())}
    found += tags_as_related_resources(tags)
    return [resource for resource in found if resource.id not in (exclude or ())]


def _surroundings(run: FlowRun, flow: str) -> dict[str, _Named | None]:
    deployment, pool, queue = run.deployment_id, run.work_pool_id, run.work_queue_id
    return {
        "flow": _Named(run.flow_id, flow),
        "deployment": _Named(deployment, _DEPLOYMENT) if deployment else None,
        "work-queue": _Named(queue, run.work_queue_name or "") if queue else None,
        "work-pool": _Named(pool, run.work_pool_name or "") if pool else None,
    }


def know_related_resources() -> None:
    """Changes all events of this process, also later ones."""
    vars(worker)[related_resources_from_run_context.__name__] = related_resources
