"""The flow run that this code is a part of."""

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import MissingContextError


def this_run() -> FlowRun:
    """Raises MissingContextError outside of a flow."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise MissingContextError("This is called from a flow.")
    return context.flow_run
