"""The Prefect automations that mark a run as Crashed if it no longer sends heartbeats.

They are not in prefect.yaml, because they belong to no deployment. The flow `mark-failed`, which
has a trigger in prefect.yaml, then updates the record of the run.
"""

from datetime import timedelta
from typing import Any

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.states import Crashed

from clipflow.domain.shorts import FailedState
from tasks.child_requests import EXTRACT, EXTRACT_GROUP, PREPARE, RENDER, TRANSCRIBE
from tasks.children import LAUNCH_TIMEOUT
from tasks.flow_runs import BEGIN_CLIP_GENERATION, GENERATE_CLIP, GENERATE_SHORTS
from tasks.recovery import Reconciled
from tasks.retries import AWAITING_CAPACITY

# A run sends a heartbeat at least every 30 s; Prefect recommends to wait for three of them.
SILENCE = timedelta(seconds=90)
# A local process starts within seconds, even if fifty start at once.
LONGEST_START = timedelta(minutes=2)
# Only clipflow's flows, since other flows in the workspace may send heartbeats at other intervals.
FLOWS = [
    BEGIN_CLIP_GENERATION,
    GENERATE_CLIP,
    GENERATE_SHORTS,
    *(
        deployment.partition("/")[0]
        for deployment in (EXTRACT, EXTRACT_GROUP, RENDER, PREPARE, TRANSCRIBE)
    ),
    "mark-failed",
]
# The fields by which automations are compared.
_FIELDS = {"name", "description", "enabled", "trigger", "actions"}
# Automations of earlier releases, which are deleted.
RETIRED = ["clipflow: cancelled"]
# The automations that `prefect deploy` creates for the triggers in prefect.yaml.
TRIGGERS = [BEGIN_CLIP_GENERATION, "mark-failed"]
_HEARTBEAT = "prefect.flow-run.heartbeat"
# A run may be lost before its first heartbeat arrives, so its start counts too.
_BEGUN = {"prefect.flow-run.Running", "prefect.flow-run.Retrying"}
_PENDING = "prefect.flow-run.Pending"
_CANCELLING = "prefect.flow-run.Cancelling"
# The names of the states after which a run sends no heartbeats; events are named after states.
_ENDED = {"Completed", "Failed", "TimedOut", "Cancelled", "Crashed"} | {
    "HeartbeatLost",
    "NeverStarted",
    # The states that clipflow's flows define.
    "AlreadyInProgress",
    "AlreadyMade",
    "NothingToGenerate",
    *FailedState,
    *Reconciled,
}
_WAITING = {"AwaitingRetry", AWAITING_CAPACITY, "Scheduled", "Paused", "Suspended"}


def automations(*, remote: bool) -> list[AutomationCore]:
    """The automations. With `remote`, runs have more time to start, because a machine starts first.

    None is needed for a run that is cancelled while no worker is running: the server's own timeout
    marks it as Cancelled, and the worker stops its infrastructure later.
    """
    launch = LAUNCH_TIMEOUT if remote else LONGEST_START
    return [
        _mark_silent_runs(
            "clipflow: heartbeat lost",
            "Marks a started run without heartbeats as Crashed: its machine is gone.",
            after={_HEARTBEAT} | _BEGUN,
            expect={_HEARTBEAT, _CANCELLING} | _events(_ENDED | _WAITING),
            within=SILENCE,
            becomes=Crashed(name="HeartbeatLost"),
        ),
        _mark_silent_runs(
            "clipflow: never started",
            "A run that was handed to a worker, and did not start, is Crashed.",
            after={_PENDING},
            expect=_events(_ENDED | _WAITING | {"Running", "Cancelling"}),
            within=launch,
            becomes=Crashed(name="NeverStarted"),
        ),
    ]


async def put_automations(client: PrefectClient, *, remote: bool) -> None:
    """Creates or updates the automations, and deletes duplicates and those of earlier releases.

    An automation that is up to date is not replaced: a new one would not have seen the events of
    the current runs, so it would never mark them as Crashed.
    """
    for name in RETIRED:
        for old in await client.read_automations_by_name(name):
            await client.delete_automation(old.id)
    for defined in automations(remote=remote):
        found = await client.read_automations_by_name(defined.name)
        for duplicate in found[1:]:
            await client.delete_automation(duplicate.id)
        if not found:
            await client.create_automation(defined)
        elif _content(found[0]) != _content(defined):
            await client.update_automation(found[0].id, defined)


async def remove_automations() -> int:
    """Deletes these automations and the deployments' triggers; returns how many there were."""
    names = [one.name for one in automations(remote=True)] + [*RETIRED, *TRIGGERS]
    async with get_client() as client:
        found = [one for name in names for one in await client.read_automations_by_name(name)]
        for automation in found:
            await client.delete_automation(automation.id)
    return len(found)


def _content(automation: AutomationCore) -> dict[str, Any]:
    """The fields of an automation that the code defines, in a form that can be compared."""
    content = AutomationCore.model_validate(automation.model_dump(include=_FIELDS))
    # Not compared as JSON, which would turn sets into lists in an arbitrary order.
    return content.model_dump(exclude={"trigger": {"id"}})


def _mark_silent_runs(
    name: str,
    description: str,
    after: set[str],
    expect: set[str],
    within: timedelta,
    becomes: State[None],
) -> AutomationCore:
    """The automation that sets a run's state to `becomes` if, within `within` after an event in
    `after`, the run sends none of the events in `expect`."""
    change = ChangeFlowRunState(
        state=becomes.type,
        name=becomes.name,
        message=f"It has sent no heartbeat for {within.total_seconds():.0f} s.",
    )
    trigger = EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related=[
            {"prefect.resource.role": "flow", "prefect.resource.name": FLOWS},
            # Only runs of a worker, whose heartbeat interval clipflow sets. Runs that a user starts
            # by hand may have another interval.
            {"prefect.resource.id": "prefect.work-pool.*"},
        ],
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        after=after,
        expect=expect,
        threshold=1,
        within=within,
    )
    return AutomationCore(
        name=name, description=description, enabled=True, trigger=trigger, actions=[change]
    )


def _events(states: set[str]) -> set[str]:
    return {f"prefect.flow-run.{name}" for name in states}
