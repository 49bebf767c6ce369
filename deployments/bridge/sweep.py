"""What was lost on the way is found, and started again once.

- An event that the server has stored and no run was started for: the server died in between.
- A record in progress with no live run behind it: whatever should have marked it could not. It is
  marked, since there may be no worker for long; started again once, unless that cannot help.
- A run that ended badly, and the run of `mark-failed` that was to settle it came to nothing.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import Event

from clipflow.domain.clips import BeginClipGeneration
from clipflow.domain.errors import (
    ClipflowError,
    Failure,
    InvalidInputError,
    MachineLostError,
    OwnershipLostError,
    TerminalError,
    TransientError,
)
from clipflow.domain.transitions import timestamp
from clipflow.storage.records import InProgress, RecordStore
from deployments.bridge.prefect_server import Runs, answering
from tasks.flow_runs import (
    BEGIN_CLIP_GENERATION,
    GENERATE_CLIP,
    GENERATE_SHORTS,
    Job,
    error_of,
    job_of,
)
from tasks.recovery import RESTARTED_TAG, reconcile

log = logging.getLogger("clipflow.bridge")

# Hooks come in a second or two, where a worker is alive. A lost heartbeat is seen after 95 s at the
# latest, and two minutes are promised.
SETTLED = timedelta(seconds=5)
# An event's own automation fires within a second.
FIRED = timedelta(seconds=20)
# Nobody knows how long there was no sweep before the first turn.
LONGEST_ABSENCE = timedelta(days=1)
OVERLAP = timedelta(minutes=10)
JOBS = [BEGIN_CLIP_GENERATION, GENERATE_CLIP, GENERATE_SHORTS]
ENDED_BADLY = [StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]


@dataclass
class Swept:
    """What a turn has found and done."""

    in_progress: int = 0
    oldest_seconds: int = 0
    begun: int = 0
    started_again: int = 0
    marked: int = 0

    def __str__(self) -> str:
        return (
            f"{self.in_progress} in progress, {self.begun} events begun,"
            f" {self.started_again} started again, {self.marked} marked"
        )


class Sweep:
    """Turn after turn. `patience`: seconds for the server to answer one request."""

    def __init__(self, client: PrefectClient, records: RecordStore, patience: float) -> None:
        self._runs = Runs(client, patience)
        self._records = records
        self._patience = patience
        self._swept_until = datetime.now(UTC) - LONGEST_ABSENCE
        self._settled: set[UUID] = set()
        self._senseless: set[UUID] = set()

    async def turn(self) -> Swept:
        """Raises OutageError or StorageUnavailableError where somebody does not answer; what can be
        done without them is done."""
        now, swept = datetime.now(UTC), Swept()
        failures: list[TransientError] = []
        begin, take_up = partial(self._begin, now, swept), partial(self._take_up, now, swept)
        for part in (begin, take_up, partial(self._settle, now)):
            try:
                await part()
            except TransientError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return swept

    async def _begin(self, now: datetime, swept: Swept) -> None:
        """Starts what stored events ask for and their automation has not started."""
        since, until = self._swept_until - OVERLAP, now - FIRED
        lately = FlowRunFilter(expected_start_time=FlowRunFilterExpectedStartTime(after_=since))
        begun = {
            run.parameters.get("event_id")
            async for run in self._runs.of([BEGIN_CLIP_GENERATION], lately)
        }
        async for event in self._runs.events(since, until):
            if str(event.id) not in begun and (job := self._job_of(event)):
                log.warning("no run for event=%s: started now", event.id)
                await self._runs.start(job, f"event:{event.id}", [])
                swept.begun += 1
        self._swept_until = until

    def _job_of(self, event: Event) -> Job | None:
        """None for what somebody else has told Prefect under our event's name."""
        if event.id in self._senseless:
            return None
        try:
            return _begin_job(event)
        except InvalidInputError as error:
            log.error("event=%s is none of the bridge's: %s", event.id, error)
            self._senseless.add(event.id)
            return None

    async def _take_up(self, now: datetime, swept: Swept) -> None:
        """Starts again, or marks, what is in progress and nobody works on."""
        entries = await asyncio.to_thread(lambda: list(self._records.in_progress(now)))
        if not entries:
            return
        swept.in_progress, swept.oldest_seconds = len(entries), _seconds(entries[0].since, now)
        old = [entry for entry in entries if entry.since < timestamp(now - SETTLED)]
        runs = {str(run.id): run async for run in self._runs.by_id(entry.owner for entry in old)}
        for entry in old:
            run = runs.get(entry.owner)
            if run is None or _is_long_over(run, now):
                await self._take_up_one(entry, run, swept)

    async def _take_up_one(self, entry: InProgress, owner: FlowRun | None, swept: Swept) -> None:
        """The record says what happened, also where no worker is there for the second run; that
        goes on from there."""
        error = error_of(owner, owner.state) if owner else None
        if not (owner and RESTARTED_TAG in owner.tags) and not isinstance(error, TerminalError):
            job = job_of(entry.keys)
            parameters = owner.parameters if owner else job.parameters
            key = f"{RESTARTED_TAG}:{'/'.join(entry.keys.record.values())}:{entry.owner}"
            run = await self._runs.start(Job(job.flow, parameters), key, [RESTARTED_TAG])
            log.warning("nobody worked on %s: run %s goes on", entry.keys.label, run.id)
            swept.started_again += 1
        await asyncio.to_thread(self._mark, entry, error)
        swept.marked += 1

    def _mark(self, entry: InProgress, error: ClipflowError | None) -> None:
        lost = MachineLostError(
            "Its run is over and left it in progress.", "Start it again to go on."
        )
        try:
            self._records.fail(entry.keys, entry.owner, Failure.of(error or lost))
            log.warning("nobody worked on %s: marked as failed", entry.keys.label)
        except OwnershipLostError as gone:
            log.info("%s", gone)

    async def _settle(self, now: datetime) -> None:
        """Does what `mark-failed` does, for each run that ended badly not long ago."""
        ended = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ENDED_BADLY)),
            end_time=FlowRunFilterEndTime(after_=now - OVERLAP, before_=now - SETTLED),
        )
        runs = [run.id async for run in self._runs.of(JOBS, ended)]
        for run_id in runs:
            if run_id not in self._settled:
                async with answering(self._patience):
                    await asyncio.to_thread(reconcile.fn, run_id)
                self._settled.add(run_id)
        self._settled &= set(runs)


def _begin_job(event: Event) -> Job:
    """Raises InvalidInputError."""
    detail = BeginClipGeneration.read(event.payload, "the event")
    asked = {
        "tenant_id": detail.tenant_id,
        "episode_id": detail.episode_id,
        "clips": event.payload.get("clips"),
        "event_id": str(event.id),
    }
    return Job(BEGIN_CLIP_GENERATION, asked)


def _seconds(since: str, now: datetime) -> int:
    """From then until now; 0 where it is no time, since anybody may have written the record."""
    try:
        then = datetime.fromisoformat(since)
    except ValueError:
        return 0
    return int((now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds())


def _is_long_over(run: FlowRun, now: datetime) -> bool:
    state = run.state
    return state is not None and state.is_final() and now - state.timestamp > SETTLED
