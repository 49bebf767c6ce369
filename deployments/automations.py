"""The automations that belong to no deployment: a run that sends no more events is Crashed.

What becomes of its record then is for the flow `mark-failed`, by its own trigger in prefect.yaml.
"""

from datetime import timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.states import Crashed

from clipflow.domain.shorts import FailedState
from tasks.children import EXTRACT, LAUNCH_TIMEOUT, PREPARE, RENDER, TRANSCRIBE
from tasks.flow_runs import BEGIN_CLIP_GENERATION, GENERATE_CLIP, GENERATE_SHORTS
from tasks.recovery import Reconciled

# Prefect beats every 30 s at most, and advises to wait for three.
SILENCE = timedelta(seconds=90)
# A process starts in seconds, also where fifty want to at once.
LONGEST_START = timedelta(minutes=2)
# Others may have flows in the same workspace, which beat as they please.
FLOWS = [
    BEGIN_CLIP_GENERATION,
    GENERATE_CLIP,
    GENERATE_SHORTS,
    *(deployment.partition("/")[0] for deployment in (EXTRACT, RENDER, PREPARE, TRANSCRIBE)),
    "mark-failed",
]
# What an automation is compared by.
_FIELDS = {"name", "description", "enabled", "trigger", "actions"}
# Those of earlier releases, which an installation may still have.
RETIRED = ["clipflow: cancelled"]
_HEARTBEAT = "prefect.flow-run.heartbeat"
# Its first beat may die with it on the way.
_BEGUN = {"prefect.flow-run.Running", "prefect.flow-run.Retrying"}
_PENDING = "prefect.flow-run.Pending"
_CANCELLING = "prefect.flow-run.Cancelling"
# By the names of states, as the events are: what a run becomes when it beats no more.
_ENDED = {"Completed", "Failed", "TimedOut", "Cancelled", "Crashed"} | {
    "HeartbeatLost",
    "NeverStarted",
    # The flows' own.
    "AlreadyInProgress",
    "AlreadyMade",
    "NothingToGenerate",
    *FailedState,
    *Reconciled,
}
_WAITING = {"AwaitingRetry", "Scheduled", "Paused", "Suspended"}


def automations(*, remote: bool) -> list[AutomationCore]:
    """All of them. `remote` machines take longer to come up.

    A run that is being cancelled with no worker there to end it needs none: the server's own
    timeout makes it Cancelled, and has the worker stop its infrastructure later.
    """
    launch = LAUNCH_TIMEOUT if remote else LONGEST_START
    return [
        _silent(
            "clipflow: heartbeat lost",
            "Marks a started run without heartbeats as Crashed: its machine is gone.",
            after={_HEARTBEAT} | _BEGUN,
            expect={_HEARTBEAT, _CANCELLING} | _events(_ENDED | _WAITING),
            within=SILENCE,
            becomes=Crashed(name="HeartbeatLost"),
        ),
        _silent(
            "clipflow: never started",
            "A run that was handed to a worker, and did not start, is Crashed.",
            after={_PENDING},
            expect=_events(_ENDED | _WAITING | {"Running", "Cancelling"}),
            within=launch,
            becomes=Crashed(name="NeverStarted"),
        ),
    ]


async def put_automations(client: PrefectClient, *, remote: bool) -> None:
    """All of them, as they should be now, whatever was there.

    One that is as it should be is left alone: a new one would know nothing of the runs under way,
    and never end those that send no more events.
    """
    for name in RETIRED:
        for old in await client.read_automations_by_name(name):
            await client.delete_automation(old.id)
    for wanted in automations(remote=remote):
        found = await client.read_automations_by_name(wanted.name)
        for duplicate in found[1:]:
            await client.delete_automation(duplicate.id)
        if not found:
            await client.create_automation(wanted)
        elif _content(found[0]) != _content(wanted):
            await client.update_automation(found[0].id, wanted)


def _content(automation: AutomationCore) -> dict[str, Any]:
    """The fields of an automation that the code defines, in a form that can be compared."""
    content = AutomationCore.model_validate(automation.model_dump(include=_FIELDS))
    # Not as JSON: what is a set here would be a list, in whatever order.
    return content.model_dump(exclude={"trigger": {"id"}})


def _silent(
    name: str,
    description: str,
    after: set[str],
    expect: set[str],
    within: timedelta,
    becomes: State[None],
) -> AutomationCore:
    change = ChangeFlowRunState(
        state=becomes.type,
        name=becomes.name,
        message=f"It has sent no heartbeat for {within.total_seconds():.0f} s.",
    )
    trigger = EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related=[
            {"prefect.resource.role": "flow", "prefect.resource.name": FLOWS},
            # A worker's runs beat as often as we say; those that a person starts by hand do not.
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
