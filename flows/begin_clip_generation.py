"""From one event to one run per clip."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from clipflow.domain.model import Identifier
from tasks.dispatch import Asker, begin_those_who_wait, outcome, start_clips
from tasks.flow_runs import BEGIN, asked_for, this_run
from tasks.run_page import tell_of_started


@flow(name=BEGIN, flow_run_name="{episode_id}")
def begin_clip_generation(
    tenant_id: Identifier,
    episode_id: Identifier,
    clips: list[dict[str, Any]] | None = None,
    event_id: str | None = None,
    force: bool = False,
    traceparent: str | None = None,
) -> State[Any]:
    """Start making the clips of an episode: those given, or all that are due.

    Args:
        tenant_id: Whose episode it is: the first half of its records' `pk`.
        episode_id: The episode: the second half, and the folder of its tracks.
        clips: Clips to make, as `{"clipId": "c-1"}`; one that has no record yet brings its
            `segments`, as `{"startTime": "00:01:00", "endTime": "00:01:30"}`. Empty: all that are
            detected, pending or failed.
        event_id: The event that asks. The same never starts a clip twice.
        force: Make them also where they are made already, from the same.
        traceparent: Where the event is in its trace. `tasks.telemetry` reads it, since the run's
            own span is opened before the run begins.
    """
    # As the run keeps them, since it may be begun by another's process, too.
    run = this_run()
    asked = asked_for(run.parameters)
    started = start_clips(asked, Asker.of(run))
    if started:
        tell_of_started(tenant_id, episode_id, started)
    begin_those_who_wait()
    return outcome(asked, started)
