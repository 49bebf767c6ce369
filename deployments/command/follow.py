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
from rich.console import Console
from rich.progress import (
    Progress,
    TaskID,
)

from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.storage.records import record_store
from deployments.command.output import Output, UnreachableError, progress_bars, step_line
from deployments.command.prefect_api import (
    Step,
    cancel_unstarted_clips,
    runs_of_event,
    steps_of,
)
from tasks.flow_runs import job_of

# All values are in seconds.
_POLL_INTERVAL = 0.5
# How long to wait for a cancelled run to end.
_CANCEL_TIMEOUT = 60.0
# How long to wait for an event to start its runs.
_DELIVERY_TIMEOUT = 120.0
# How long to wait for an unreachable Prefect server, and when to print that it is unreachable.
_OUTAGE_TIMEOUT, _OUTAGE_NOTICE = 60.0, 5.0
# The shortest and the longest wait for the last steps of an ended run to be stored.
_LAST_STEPS_DELAY, _LAST_STEPS_TIMEOUT = 1.0, 5.0


class RunRequest(Protocol):
    """A request for clips or shorts, and the flow runs that make them."""

    @property
    def message(self) -> str:
        """One line that describes the request."""

    @property
    def names(self) -> Mapping[str, RecordKeys]:
        """The record keys by display name."""

    def runs(self, client: SyncPrefectClient) -> Mapping[str, FlowRun]:
        """The flow runs that exist so far, by display name."""

    def cancel_unstarted(self, client: SyncPrefectClient) -> None:
        """Prevents further runs from being started."""


@dataclass(frozen=True)
class ShortsRequest:
    """One run of the shorts job, started by this process."""

    keys: ShortsKeys
    run_id: UUID

    @property
    def message(self) -> str:
        return f"Requested the shorts of {self.keys.label}"

    @property
    def names(self) -> Mapping[str, RecordKeys]:
        return {self.keys.video_id: self.keys}

    def runs(self, client: SyncPrefectClient) -> Mapping[str, FlowRun]:
        return {self.keys.video_id: client.read_flow_run(self.run_id)}

    def cancel_unstarted(self, client: SyncPrefectClient) -> None:
        """Does nothing, because its only run is already started."""


@dataclass(frozen=True)
class ClipsRequest:
    """The clips of one event, which starts a run for each of them."""

    event_id: str
    clips: Sequence[ClipKeys]

    @property
    def message(self) -> str:
        many = len(self.clips) > 1
        what = f"{len(self.clips)} clips" if many else self.clips[0].label
        return f"Requested {what} of {self.clips[0].episode_id} by an EventBridge event"

    @property
    def names(self) -> Mapping[str, RecordKeys]:
        return {keys.clip_id: keys for keys in self.clips}

    def runs(self, client: SyncPrefectClient) -> Mapping[str, FlowRun]:
        return runs_of_event(client, self.event_id, list(self.names))

    def cancel_unstarted(self, client: SyncPrefectClient) -> None:
        cancel_unstarted_clips(client, self.event_id, self.clips)


def start_shorts(keys: ShortsKeys, force: bool) -> ShortsRequest:
    """Starts a run of the shorts job. Raises UnreachableError if its flow is not deployed."""
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
    # The declared type also covers asynchronous use; outside an event loop it returns the run.
    return ShortsRequest(keys, cast(FlowRun, started).id)


def follow(start: Callable[[], RunRequest], output: Output) -> Mapping[str, FlowRun]:
    """Starts runs and prints their steps; returns the runs, by name, once all of them have ended.

    If another run is already working on the same record, that run is followed instead. Ctrl-C
    cancels the started runs, waits until they have ended, and is raised again. Raises
    UnreachableError if an event starts no run, httpx's HTTPError if Prefect stays unreachable.
    """
    with get_client(sync_client=True) as client:
        request = start()
        try:
            output.line(request.message)
            return _wait(client, request, output)
        except KeyboardInterrupt:
            output.line("Cancelling. Press Ctrl-C again to stop waiting for it.")
            _cancel(client, request)
            raise


def _wait(client: SyncPrefectClient, request: RunRequest, output: Output) -> Mapping[str, FlowRun]:
    with step_printer(output.console) as printer:
        answered = active = time.monotonic()
        is_outage_shown = False
        while True:
            try:
                runs, _ = _poll(client, request, printer)
                answered, is_outage_shown = time.monotonic(), False
                if not all(map(_is_over, runs.values())):
                    active = answered
            except httpx.TransportError:
                silence = time.monotonic() - answered
                if silence > _OUTAGE_TIMEOUT:
                    raise
                if silence > _OUTAGE_NOTICE and not is_outage_shown:
                    is_outage_shown = True
                    output.line(f"Prefect does not answer; waiting up to {_OUTAGE_TIMEOUT:.0f} s.")
                runs = {}
            if len(runs) == len(request.names) and all(map(_is_over, runs.values())):
                _print_last_steps(client, request, printer)
                return runs
            if answered > active + _DELIVERY_TIMEOUT:
                raise UnreachableError(
                    f"The event was accepted, but {len(request.names) - len(runs)} of "
                    f"{len(request.names)} clips have no run after {_DELIVERY_TIMEOUT:.0f} s.",
                    "Check that the bridge runs, which forwards events from the queue to Prefect.",
                )
            time.sleep(_POLL_INTERVAL)


def _poll(
    client: SyncPrefectClient, request: RunRequest, printer: "StepPrinter"
) -> tuple[Mapping[str, FlowRun], Sequence[Step]]:
    runs = {
        name: _owner_of(client, request.names[name], run)
        for name, run in request.runs(client).items()
    }
    names = {run.id: name for name, run in runs.items()} if len(request.names) > 1 else {}
    steps = steps_of(client, list(dict.fromkeys(run.id for run in runs.values())))
    printer.update(steps, names)
    return runs, steps


def _print_last_steps(
    client: SyncPrefectClient, request: RunRequest, printer: "StepPrinter"
) -> None:
    """Prints the last steps. Prefect stores task runs from events, possibly after the flow run's
    end."""
    began = time.monotonic()
    with suppress(httpx.HTTPError):
        while (waited := time.monotonic() - began) < _LAST_STEPS_TIMEOUT:
            _, steps = _poll(client, request, printer)
            if waited >= _LAST_STEPS_DELAY and all(step.is_over for step in steps):
                return
            time.sleep(_POLL_INTERVAL)


def _owner_of(client: SyncPrefectClient, keys: RecordKeys, run: FlowRun) -> FlowRun:
    """The run that owns the record: another one if `run` found it in progress, else `run`."""
    if run.state and run.state.name == "AlreadyInProgress":
        owner = record_store().owner(keys)
        if owner:
            with suppress(ObjectNotFound, ValueError):
                return client.read_flow_run(UUID(owner))
    return run


def _is_over(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def _cancel(client: SyncPrefectClient, request: RunRequest) -> None:
    """Cancels every run of the request and waits up to `_CANCEL_TIMEOUT` for all of them to end."""
    deadline, cancelled = time.monotonic() + _CANCEL_TIMEOUT, set[UUID]()
    request.cancel_unstarted(client)
    while time.monotonic() < deadline:
        alive = [run for run in request.runs(client).values() if not _is_over(run)]
        for run in alive:
            if run.id not in cancelled:
                cancelled.add(run.id)
                client.set_flow_run_state(run.id, Cancelling(message="Ctrl-C"))
        if not alive:
            return
        time.sleep(_POLL_INTERVAL)


class StepPrinter:
    """Prints each step once, when it ends. On a terminal, running steps have a bar or a spinner."""

    def __init__(self, console: Console, progress: Progress | None) -> None:
        self._console, self._progress = console, progress
        self._began = time.monotonic()
        self._printed: set[UUID] = set()
        self._bars: dict[UUID, TaskID] = {}
        self._waiting: TaskID | None = None

    def update(self, steps: Sequence[Step], names: Mapping[UUID, str]) -> None:
        """Displays the current state of the steps; `names` has the runs' names if there are
        several."""
        for step in steps:
            if step.is_over and step.id not in self._printed:
                self._printed.add(step.id)
                seconds = time.monotonic() - self._began
                line = step_line(seconds, _label(step, names), is_made=step.is_made)
                self._console.print(line, soft_wrap=True)
        if self._progress:
            self._update_bars(self._progress, [step for step in steps if step.is_running], names)

    def _update_bars(
        self, progress: Progress, running: list[Step], names: Mapping[UUID, str]
    ) -> None:
        for ended in set(self._bars) - {step.id for step in running}:
            progress.remove_task(self._bars.pop(ended))
        for step in running:
            if step.id not in self._bars:
                self._bars[step.id] = progress.add_task(_label(step, names), total=None)
            if step.progress is not None:
                progress.update(self._bars[step.id], total=100, completed=step.progress)
        if running and self._waiting is not None:
            progress.remove_task(self._waiting)
            self._waiting = None
        elif not running and self._waiting is None:
            self._waiting = progress.add_task("waiting", total=None)


@contextmanager
def step_printer(console: Console) -> Iterator[StepPrinter]:
    """A printer of steps to `console` that removes its progress bars at the end."""
    if not console.is_terminal:
        yield StepPrinter(console, None)
        return
    with progress_bars(console) as progress:
        yield StepPrinter(console, progress)


def _label(step: Step, names: Mapping[UUID, str]) -> str:
    name = names.get(step.run_id)
    return f"{name}: {step.name}" if name else step.name
