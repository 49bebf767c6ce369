"""The automations that mark a run as crashed: which runs their triggers match."""

from importlib import import_module
from uuid import uuid4

import pytest
import yaml
from prefect.server.events.schemas.automations import EventTrigger
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.types._datetime import now

from deployments.automations import automations
from tests.programs import ROOT

POOL = {"prefect.resource.id": f"prefect.work-pool.{uuid4()}", "prefect.resource.role": "work-pool"}


def deployed_flows() -> list[str]:
    """The names of all flows in prefect.yaml."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    places = (deployment["entrypoint"].partition(":") for deployment in deployments)
    return [getattr(import_module(module), name).name for module, _, name in places]


def heartbeat(flow: str, *related: dict[str, str]) -> ReceivedEvent:
    """A heartbeat event of a run of this flow."""
    flow_resource = {
        "prefect.resource.id": f"prefect.flow.{uuid4()}",
        "prefect.resource.role": "flow",
    }
    return ReceivedEvent(
        id=uuid4(),
        occurred=now(),
        received=now(),
        event="prefect.flow-run.heartbeat",
        resource={"prefect.resource.id": f"prefect.flow-run.{uuid4()}"},
        related=[flow_resource | {"prefect.resource.name": flow}, *related],
    )


@pytest.fixture(params=automations(remote=True), ids=lambda automation: automation.name)
def trigger(request: pytest.FixtureRequest) -> EventTrigger:
    """The trigger of each automation, as the server parses it."""
    return EventTrigger.model_validate(request.param.trigger.model_dump(mode="json"))


@pytest.mark.parametrize("flow", deployed_flows())
def test_automations_watch_every_flow_of_clipflow(trigger: EventTrigger, flow: str) -> None:
    event = heartbeat(flow, POOL)
    assert trigger.covers_resources(event.resource, event.related)


def test_automations_ignore_other_flows(trigger: EventTrigger) -> None:
    event = heartbeat("their-flow", POOL)
    assert not trigger.covers_resources(event.resource, event.related)


def test_automations_ignore_a_run_without_a_worker(trigger: EventTrigger) -> None:
    event = heartbeat(deployed_flows()[0])
    assert not trigger.covers_resources(event.resource, event.related)
