"""The jobs that Prefect has run lately, each with what its record says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ClipKeys, ShortsKeys
from deployments.command.errors import one_line
from deployments.command.results import read_record
from deployments.command.runs import Step, recent_runs
from tasks.flow_runs import record_of

_SHORT_ID = 8
# How far back a job is looked for by its name or the beginning of its id.
_LOOKED_AT = 200
_AGES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True)
class Job:
    """One run of a job, and the record that it keeps."""

    run: FlowRun
    keys: ShortsKeys | ClipKeys

    @property
    def id(self) -> str:
        """As much of the run's as tells it from the others."""
        return str(self.run.id)[:_SHORT_ID]

    @property
    def kind(self) -> str:
        return "clip" if isinstance(self.keys, ClipKeys) else "shorts"

    @property
    def name(self) -> str:
        return self.keys.clip_id if isinstance(self.keys, ClipKeys) else self.keys.video_id

    @property
    def state(self) -> str:
        return self.run.state_name or "Unknown"

    @property
    def has_failed(self) -> bool:
        state = self.run.state
        return state is not None and state.is_final() and not state.is_completed()

    def failure(self, record: Mapping[str, Any]) -> str:
        """Why it failed and what to do, on one line: in the record's words, where they are of this
        run, else in Prefect's; empty where it has not failed."""
        if not self.has_failed:
            return ""
        told = record.get("processingError", {}).get("message")
        ours = record.get("flowRunId") == str(self.run.id)
        said = self.run.state.message if self.run.state else None
        return one_line(told if told and ours else said or self.state)

    def document(self, steps: Sequence[Step], failure: str) -> dict[str, Any]:
        """For a program. Times are ISO 8601, the age in seconds."""
        return {
            "id": self.id,
            "runId": str(self.run.id),
            "job": self.kind,
            "name": self.name,
            "record": self.keys.record,
            "state": self.state,
            "steps": {"done": done(steps), "of": len(steps)},
            "ageSeconds": round(self.age(datetime.now(UTC))),
            "failure": failure or None,
        }

    def age(self, now: datetime) -> float:
        """Seconds since it ended; while it has not, since it was to start."""
        since = self.run.end_time or self.run.start_time or self.run.expected_start_time
        return max(0.0, (now - since).total_seconds()) if since else 0.0


def done(steps: Sequence[Step]) -> int:
    return sum(step.is_made for step in steps)


def age_text(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h`, `2 d`: the largest unit alone."""
    for length, unit in _AGES:
        if seconds >= length:
            return f"{math.floor(seconds / length)} {unit}"
    return "0 s"


def recent_jobs(client: SyncPrefectClient, count: int) -> list[Job]:
    """The newest first."""
    found = [_job(flow, run) for flow, run in recent_runs(client, count)]
    return [job for job in found if job]


def find_job(client: SyncPrefectClient, wanted: str) -> Job:
    """By its run's id, the beginning of that, or the clip's or video's name; of many the newest.

    Raises InvalidInputError where there is none.
    """
    try:
        run = client.read_flow_run(UUID(wanted))
        job = _job(client.read_flow(run.flow_id).name, run)
        if job:
            return job
    except (ValueError, ObjectNotFound):
        for job in recent_jobs(client, _LOOKED_AT):
            if wanted == job.name or str(job.run.id).startswith(wanted.lower()):
                return job
    raise InvalidInputError(f"There is no job {wanted}.", "`clipflow status` lists the last ones.")


def record_if_failed(job: Job) -> dict[str, Any]:
    """Its record, where that is needed to say why it failed."""
    return read_record(job.keys) if job.has_failed else {}


def _job(flow: str, run: FlowRun) -> Job | None:
    keys = record_of(flow, run.parameters)
    return Job(run, keys) if isinstance(keys, ShortsKeys | ClipKeys) else None
