"""Following runs to their end; Ctrl-C cancels them."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling

from clipflow.storage.records import record_store
from deployments.command.answer import Answer
from deployments.command.asked import Asked
from deployments.command.errors import UnreachableError
from deployments.command.runs import steps_of
from deployments.command.steps import Steps, shown

# Seconds between two looks; for a cancelled run to end, and for one to start that is to be; for an
# event to have started its runs; and for a Prefect server that went away to be back.
_LOOK, _PATIENCE, _LATE, _DELIVERY, _OUTAGE = 0.5, 60.0, 15.0, 120.0, 60.0


def follow(start: Callable[[], Asked], answer: Answer) -> Mapping[str, FlowRun]:
    """Start what is asked for; its runs, by name, once all of them have ended. Every step is told.

    What another run is making already is followed there. Ctrl-C cancels what was started, waits
    until it has ended, and is raised on. Raises UnreachableError where an event starts nothing,
    httpx's HTTPError where Prefect stays away.
    """
    with get_client(sync_client=True) as client:
        asked = start()
        try:
            answer.say(asked.told)
            return _watched(client, asked, answer)
        except KeyboardInterrupt:
            answer.say("Cancelling. Ctrl-C again leaves it to itself.")
            _cancel(client, asked)
            raise


def _watched(client: SyncPrefectClient, asked: Asked, answer: Answer) -> Mapping[str, FlowRun]:
    with shown(answer.console) as steps:
        looked = at_work = time.monotonic()
        while True:
            try:
                runs = _look(client, asked, steps)
                looked = time.monotonic()
                if not all(map(_is_over, runs.values())):
                    at_work = looked
            except httpx.TransportError:
                if time.monotonic() > looked + _OUTAGE:
                    raise
                runs = {}
            if len(runs) == len(asked.names) and all(map(_is_over, runs.values())):
                return runs
            if looked > at_work + _DELIVERY:
                raise UnreachableError(
                    f"An event was put, but {len(asked.names) - len(runs)} of "
                    f"{len(asked.names)} clips have no run after {_DELIVERY:.0f} s.",
                    "See that the bridge runs: it carries events from the queue to Prefect.",
                )
            time.sleep(_LOOK)


def _look(client: SyncPrefectClient, asked: Asked, steps: Steps) -> Mapping[str, FlowRun]:
    runs = {name: _at_work(client, asked, name, run) for name, run in asked.runs(client).items()}
    many = len(asked.names) > 1
    names = {run.id: name for name, run in runs.items()} if many else {}
    steps.show(steps_of(client, list(dict.fromkeys(run.id for run in runs.values()))), names)
    return runs


def _at_work(client: SyncPrefectClient, asked: Asked, name: str, run: FlowRun) -> FlowRun:
    """The run that makes it: where this one found another at it, that one."""
    if run.state and run.state.name == "AlreadyInProgress":
        owner = record_store().owner(asked.names[name])
        if owner:
            with suppress(ObjectNotFound, ValueError):
                return client.read_flow_run(UUID(owner))
    return run


def _is_over(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def _cancel(client: SyncPrefectClient, asked: Asked) -> None:
    """Also what an event that is still on its way starts meanwhile; until all of it has ended."""
    began, told = time.monotonic(), set[UUID]()
    while (waited := time.monotonic() - began) < _PATIENCE:
        runs = asked.runs(client)
        alive = [run for run in runs.values() if not _is_over(run)]
        for run in alive:
            if run.id not in told:
                told.add(run.id)
                client.set_flow_run_state(run.id, Cancelling(message="Ctrl-C"))
        if not alive and (len(runs) == len(asked.names) or waited > _LATE):
            return
        time.sleep(_LOOK)
