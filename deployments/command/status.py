"""`clipflow status` and `clipflow open`: the latest jobs with their progress, the history of one,
and the addresses of its page and its run."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.utilities.urls import url_for

from clipflow.domain.errors import SourceNotFoundError
from deployments.command.files import OutputManifest, download_results, read_record
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


def find_page(name_or_id: str | None, out: Path) -> Path:
    """The results page of a job in Prefect; without a name, of the newest job that has one.

    Downloads the page and its files unless they are already there. Raises SourceNotFoundError if
    there is no page.
    """
    with get_client(sync_client=True) as client:
        jobs = [find_job(client, name_or_id)] if name_or_id else recent_jobs(client, 20)
    for job in jobs:
        # An earlier command may have downloaded it under the name of the local video file.
        manifest = OutputManifest(out, job.keys)
        name = manifest.name() or job.name
        page = manifest.page() or download_results(job.keys, out, name).page
        if page:
            return page
    raise SourceNotFoundError(
        f"{name_or_id or 'None of the last jobs'} has no page of results.",
        "See `clipflow status` for its progress; `--run` opens its run instead.",
    )


def run_address(name_or_id: str | None) -> str:
    """The address of a job's run in the Prefect UI; without a name, of the newest. Raises
    SourceNotFoundError."""
    with get_client(sync_client=True) as client:
        jobs = [find_job(client, name_or_id)] if name_or_id else recent_jobs(client, 1)
    address = url_for("flow-run", obj_id=jobs[0].run.id) if jobs else None
    if not address:
        raise SourceNotFoundError(
            "There is no run to open.", "Begin with `clipflow shorts talk.mp4`."
        )
    return address


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
