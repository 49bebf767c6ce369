"""`clipflow status`: the latest jobs with their progress, or the history of one job."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client

from deployments.command.files import read_record
from deployments.command.output import Output
from deployments.command.prefect_api import (
    JobRun,
    Step,
    count_done,
    find_job,
    format_age,
    recent_jobs,
    record_if_failed,
    steps_of,
)

_COLUMNS = ("id", "job", "name", "state", "steps", "age")


def show_jobs(count: int, output: Output) -> None:
    """Prints the latest jobs, one line each, newest first, with the reasons of failures."""
    with get_client(sync_client=True) as client:
        jobs = recent_jobs(client, count)
        steps = defaultdict[UUID, list[Step]](list)
        for step in steps_of(client, [job.run.id for job in jobs]):
            steps[step.run_id].append(step)
    failures = {job.id: job.failure(record_if_failed(job)) for job in jobs}
    output.document["jobs"] = [job.document(steps[job.run.id], failures[job.id]) for job in jobs]
    if not jobs:
        output.line("There are no jobs yet. Start one with `clipflow shorts talk.mp4`.")
        return
    rows = [_row(job, steps[job.run.id]) for job in jobs]
    if not output.console.is_terminal:
        output.table((*_COLUMNS, "failure"), [[*row, failures[row[0]]] for row in rows])
        return
    output.table(_COLUMNS, rows)
    for id, failure in failures.items():
        if failure:
            output.line(f"{id}: {failure}", "red")


def show_job(name_or_id: str, output: Output) -> None:
    """Prints one job: its state, its steps, its record's history, and why it failed. Raises
    InvalidInputError if there is no such job."""
    with get_client(sync_client=True) as client:
        job = find_job(client, name_or_id)
        steps = steps_of(client, [job.run.id])
    record = read_record(job.keys)
    failure = job.failure(record)
    history = record.get("statusHistory", [])
    output.document |= {
        **job.document(steps, failure),
        "history": history,
        "tasks": [_step(step) for step in steps],
    }
    output.line(f"{job.kind} {job.name}, run {job.run.id}")
    row = _row(job, steps)
    output.line(f"{row[3]}, {row[4]} steps, {row[5]} ago")
    output.table(
        ("time", "status", "error"),
        [(e["timestamp"], e["status"], _error(e)) for e in history],
    )
    for step in steps:
        if step.is_running:
            progress = "" if step.progress is None else f", {step.progress:.0f} %"
            output.line(f"Running: {step.name}{progress}")
    if failure:
        output.line(failure, "red")


def _row(job: JobRun, steps: Sequence[Step]) -> tuple[str, ...]:
    progress = f"{count_done(steps)}/{len(steps)}"
    age = format_age(job.age(datetime.now(UTC)))
    return job.id, job.kind, job.name, job.state, progress, age


def _step(step: Step) -> dict[str, Any]:
    state = step.state.value if step.state else None
    return {"name": step.name, "state": state, "progress": step.progress}


def _error(entry: dict[str, Any]) -> str:
    """The error of one entry of a record's history, on one line."""
    return " ".join(str(entry.get("error", "")).split())
