"""The flow that starts a run for each clip of an event."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from clipflow.domain.model import Identifier
from tasks.dispatch import TriggerContext, dispatch_state, drain_pending_runs, start_clips
from tasks.flow_runs import BEGIN_CLIP_GENERATION, NO_RESULTS, parse_request, this_run
from tasks.run_page import publish_started_clips


@flow(name=BEGIN_CLIP_GENERATION, flow_run_name="{episode_id}", **NO_RESULTS)
def begin_clip_generation(
    tenant_id: Identifier,
    episode_id: Identifier,
    clips: list[dict[str, Any]] | None = None,
    event_id: str | None = None,
    force: bool = False,
    traceparent: str | None = None,
    request: str | None = None,
) -> State[Any]:
    """Start a run for each clip of an episode: those given, or all that are due.

    Args:
        tenant_id: The tenant: the first part of the records' `pk`.
        episode_id: The episode: the second part, and the folder of its tracks.
        clips: Clips to make, as `{"clipId": "c-1"}`; one that has no record yet needs its
            `segments`, as `{"startTime": "00:01:00", "endTime": "00:01:30"}`. Empty: all that are
            detected, pending or failed.
        event_id: The event that triggered the run. The same event never starts a clip twice.
        force: Make the clips again even if they exist with the same inputs.
        traceparent: The event's trace context. `tasks.telemetry` reads it, because Prefect opens
            the run's span before the run begins.
        request: The event's detail as JSON text, instead of `clips`.
    """
    # Read from the run's stored parameters, as a process that drains pending runs does.
    run = this_run()
    generation = parse_request(run.parameters)
    started = start_clips(generation, TriggerContext.of(run))
    if started:
        publish_started_clips(tenant_id, episode_id, started)
    drain_pending_runs()
    return dispatch_state(generation, started)
