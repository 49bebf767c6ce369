"""Starting runs and following them to their end; Ctrl-C cancels them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling
from rich.console import Console, RenderableType
from rich.progress import (
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Column
from rich.text import Text

from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.storage.records import record_store
from deployments.command.output import Answer, UnreachableError
from deployments.command.prefect_api import Step, runs_of_event, steps_of
from tasks.flow_runs import job_of

_BAR = 16


class Steps:
    """Tells each step once when it is over; what is running has a bar or, untold, a spinner."""

    def __init__(self, console: Console, progress: Progress | None) -> None:
        self._console, self._progress = console, progress
        self._began = time.monotonic()
        self._told: set[UUID] = set()
        self._shown: dict[UUID, TaskID] = {}
        self._waiting: TaskID | None = None

    def show(self, steps: Sequence[Step], names: Mapping[UUID, str]) -> None:
        """How things are now; `names` are those of the runs, where there are many."""
        for step in steps:
            if step.is_over and step.id not in self._told:
                self._told.add(step.id)
                self._console.print(self._line(step, _label(step, names)), soft_wrap=True)
        if self._progress:
            self._update(self._progress, [step for step in steps if step.is_running], names)

    def _line(self, step: Step, label: str) -> Text:
        mark, style = ("✓", "green") if step.is_made else ("✗", "red")
        seconds = time.monotonic() - self._began
        return Text.assemble(f"{seconds:6.1f} s  ", (mark, style), f" {label}")

    def _update(self, live: Progress, running: list[Step], names: Mapping[UUID, str]) -> None:
        for over in set(self._shown) - {step.id for step in running}:
            live.remove_task(self._shown.pop(over))
        for step in running:
            if step.id not in self._shown:
                self._shown[step.id] = live.add_task(_label(step, names), total=None)
            if step.progress is not None:
                live.update(self._shown[step.id], total=100, completed=step.progress)
        if running and self._waiting is not None:
            live.remove_task(self._waiting)
            self._waiting = None
        elif not running and self._waiting is None:
            self._waiting = live.add_task("waiting", total=None)


@contextmanager
def shown(console: Console) -> Iterator[Steps]:
    """Steps told to `console`; its bars are gone at the end."""
    if not console.is_terminal:
        yield Steps(console, None)
        return
    name = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=name),
        _Far(),
        TaskProgressColumn(),
        console=console,
        transient=True,
        expand=True,
    )
    with progress:
        yield Steps(console, progress)


class _Far(ProgressColumn):
    """A bar for a step that tells how far it is; for another its spinner is enough."""

    def render(self, task: Task) -> RenderableType:
        if task.total is None:
            return Text(" ")
        return ProgressBar(total=task.total, completed=task.completed, width=_BAR)


def _label(step: Step, names: Mapping[UUID, str]) -> str:
    name = names.get(step.run_id)
    return f"{name}: {step.name}" if name else step.name


class Asked(Protocol):
    """Some records to be made, and the runs that were started for them."""

    @property
    def told(self) -> str:
        """That it is asked for now, for a person."""

    @property
    def names(self) -> Mapping[str, RecordKeys]:
        """The records, each by the name that people call it."""

    def runs(self, client: SyncPrefectClient) -> Mapping[str, FlowRun]:
        """The run of each, by the same name, as far as there is one."""


@dataclass(frozen=True)
class AskedRun:
    """One run, which this process has started."""

    keys: ShortsKeys
    run_id: UUID

    @property
    def told(self) -> str:
        return f"Asked for the shorts of {self.keys.label}"

    @property
    def names(self) -> Mapping[str, RecordKeys]:
        return {self.keys.video_id: self.keys}

    def runs(self, client: SyncPrefectClient) -> Mapping[str, FlowRun]:
        return {self.keys.video_id: client.read_flow_run(self.run_id)}


@dataclass(frozen=True)
class AskedByEvent:
    """The runs of the clips that an event has named."""

    event_id: str
    clips: Sequence[ClipKeys]

    @property
    def told(self) -> str:
        many = len(self.clips) > 1
        what = f"{len(self.clips)} clips" if many else self.clips[0].label
        return f"Asked for {what} of {self.clips[0].episode_id} by an EventBridge event"

    @property
    def names(self) -> Mapping[str, RecordKeys]:
        return {keys.clip_id: keys for keys in self.clips}

    def runs(self, client: SyncPrefectClient) -> Mapping[str, FlowRun]:
        return runs_of_event(client, self.event_id, list(self.names))


def start_shorts(keys: ShortsKeys, force: bool) -> AskedRun:
    """Raises UnreachableError where nothing is deployed that could make them."""
    job = job_of(keys)
    try:
        started = run_deployment(
            job.deployment,
            parameters={**job.parameters, "force": force},
            timeout=0,
            as_subflow=False,
        )
    except ObjectNotFound:
        raise UnreachableError(
            f"Prefect has no deployment {job.deployment}.",
            "Start `make up`, or deploy with `python -m deployments.work_pools`.",
        ) from None
    # Its type is that of both its uses; outside an event loop it gives the run itself.
    return AskedRun(keys, cast(FlowRun, started).id)


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
