"""A run's steps as they go: bars on a terminal, a line per finished step everywhere."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

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

from deployments.command.runs import Step

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
