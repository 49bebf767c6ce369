"""Flow runs in a given state on a Prefect server, without a process."""

from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, State

from tasks.recovery import RESTARTED_TAG


def deployed(client: SyncPrefectClient, flow: str) -> UUID:
    """Create a deployment of the flow without a work pool, so that no worker runs it."""
    return client.create_deployment(client.create_flow_from_name(flow), "clipflow")


def run_of(
    flow: str, parameters: dict[str, Any], state: State[None], tags: tuple[str, ...] = ()
) -> FlowRun:
    """Create a run of the flow and set its state to `state`."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(
            deployed(client, flow), parameters=parameters, tags=tags
        )
        client.set_flow_run_state(run.id, state, force=True)
        return client.read_flow_run(run.id)


def second_runs(parameter: str, value: str) -> list[FlowRun]:
    """The runs with this parameter that were started to replace another run."""
    restarted = FlowRunFilter(tags=FlowRunFilterTags(all_=[RESTARTED_TAG]))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=restarted)
    return [run for run in runs if run.parameters.get(parameter) == value]
