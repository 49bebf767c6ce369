"""`clipflow status`: what is being made, what was made lately, and one job's whole history."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client

from deployments.command.files import read_record
from deployments.command.output import Answer
from deployments.command.prefect_api import (
    Job,
    Step,
    age_text,
    done,
    find_job,
    recent_jobs,
    record_if_failed,
    steps_of,
)

_COLUMNS = ("id", "job", "name", "state", "steps", "age")


def show_jobs(count: int, answer: Answer) -> None:
    """The last jobs, a line each, the newest first; what failed says why."""
    with get_client(sync_client=True) as client:
        jobs = recent_jobs(client, count)
        steps = defaultdict[UUID, list[Step]](list)
        for step in steps_of(client, [job.run.id for job in jobs]):
            steps[step.run_id].append(step)
    failures = {job.id: job.failure(record_if_failed(job)) for job in jobs}
    answer.document["jobs"] = [job.document(steps[job.run.id], failures[job.id]) for job in jobs]
    if not jobs:
        answer.say("Nothing was made yet. Begin with `clipflow shorts talk.mp4`.")
        return
    rows = [_row(job, steps[job.run.id]) for job in jobs]
    if not answer.console.is_terminal:
        answer.table((*_COLUMNS, "failure"), [[*row, failures[row[0]]] for row in rows])
        return
    answer.table(_COLUMNS, rows)
    for id, failure in failures.items():
        if failure:
            answer.say(f"{id}: {failure}", "red")


def show_job(wanted: str, answer: Answer) -> None:
    """One job: its state, its steps, its record's history, and why it failed. Raises
    InvalidInputError where there is none."""
    with get_client(sync_client=True) as client:
        job = find_job(client, wanted)
        steps = steps_of(client, [job.run.id])
    record = read_record(job.keys)
    failure = job.failure(record)
    history = record.get("statusHistory", [])
    answer.document |= {
        **job.document(steps, failure),
        "history": history,
        "tasks": [_step(step) for step in steps],
    }
    answer.say(f"{job.kind} {job.name}, run {job.run.id}")
    row = _row(job, steps)
    answer.say(f"{row[3]}, {row[4]} steps, {row[5]} ago")
    answer.table(
        ("time", "status", "error"),
        [(e["timestamp"], e["status"], _error(e)) for e in history],
    )
    for step in steps:
        if step.is_running:
            far = "" if step.progress is None else f", {step.progress:.0f} %"
            answer.say(f"Now: {step.name}{far}")
    if failure:
        answer.say(failure, "red")


def _row(job: Job, steps: Sequence[Step]) -> tuple[str, ...]:
    far = f"{done(steps)}/{len(steps)}"
    age = age_text(job.age(datetime.now(UTC)))
    return job.id, job.kind, job.name, job.state, far, age


def _step(step: Step) -> dict[str, Any]:
    state = step.state.value if step.state else None
    return {"name": step.name, "state": state, "progress": step.progress}


def _error(entry: dict[str, Any]) -> str:
    """Of one entry of a record's history, on one line."""
    return " ".join(str(entry.get("error", "")).split())
