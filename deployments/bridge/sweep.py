"""The sweep: finds lost events and runs, and starts each of them again once.

It handles these cases:

- An event is stored, but no run was started for it, because the server died in between. The sweep
  starts the run.
- A run has sent no heartbeat for some time. The sweep marks it as Crashed (`lost_runs`).
- A record is in progress, but its run is over and did not update it. The sweep starts the run again
  once, unless that cannot help, and marks the record as failed, since no worker may be running.
- A run has failed, and the run of `mark-failed` that should have updated its record failed too. The
  sweep updates the record.
- The second run for an event has failed, and some of its clips have no record. The sweep sends the
  event to the dead-letter queue.
- A record is finished, but its run ended before it had sent the record's events. The sweep sends
  them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid5

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
from clipflow.domain.events import envelope, request_text
from clipflow.domain.keys import ClipKeys
from clipflow.domain.model import parse_json
from clipflow.domain.transitions import timestamp
from clipflow.storage.outbox import Outbox
from clipflow.storage.records import ClaimedRecord, RecordStore
from deployments.bridge.lost_runs import LostRuns
from deployments.bridge.message import RequestRejectedError
from deployments.bridge.prefect_server import Server, request_errors
from deployments.bridge.result_events import UnsentEvents
from tasks.flow_runs import (
    BEGIN_CLIP_GENERATION,
    GENERATE_CLIP,
    GENERATE_SHORTS,
    Job,
    error_of,
    job_of,
    parse_request,
)
from tasks.recovery import RESTARTED_TAG, reconcile

logger = logging.getLogger(__name__)

# How long a run must be over before it counts as lost. If a worker is running, its hooks update the
# record within a second or two. A run without heartbeats is noticed within 100 s, and the
# documentation promises recovery within two minutes.
ENDED_RUN_GRACE = timedelta(seconds=5)
# How old an event must be before its run counts as missing; its automation fires within a second,
# or when Prefect has started the runs of the events before it.
TRIGGER_GRACE = timedelta(seconds=20)
# How far back the first turn searches at most.
MAX_LOOKBACK = timedelta(days=1)
# How far each turn searches before the end of the last one, since events and states may be stored
# late.
OVERLAP = timedelta(minutes=10)
# How often the time of the sweep is stored for the next start of the bridge.
STORE_INTERVAL = timedelta(minutes=1)
JOBS = [BEGIN_CLIP_GENERATION, GENERATE_CLIP, GENERATE_SHORTS]
FAILED_STATES = [StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]

# A function that sends a message's body to the dead-letter queue, with a reason.
DeadLetter = Callable[[str, str], Awaitable[None]]


@dataclass
class SweepResult:
    """What one turn of the sweep has found and done, as counts.

    Attributes:
        in_progress: records in progress; the oldest for `oldest_seconds`.
        lost: runs without heartbeats that it has marked as Crashed.
        begun: events whose run the sweep has started.
        started_again: runs that the sweep has started again.
        marked: records that it has marked as failed.
        events_sent: events of finished records that it has sent.
    """

    in_progress: int = 0
    oldest_seconds: int = 0
    lost: int = 0
    begun: int = 0
    started_again: int = 0
    marked: int = 0
    events_sent: int = 0

    def __str__(self) -> str:
        return (
            f"{self.in_progress} in progress, {self.lost} runs lost, {self.begun} events begun,"
            f" {self.started_again} started again, {self.marked} marked,"
            f" {self.events_sent} result events sent"
        )


class Sweep:
    """Runs the sweep, turn by turn. `timeout` is that of one request to the server, in seconds."""

    def __init__(
        self,
        client: PrefectClient,
        records: RecordStore,
        outbox: Outbox,
        timeout: float,
        dead_letter: DeadLetter,
    ) -> None:
        self._server = Server(client, timeout)
        self._records = records
        self._unsent = UnsentEvents(outbox)
        self._lost = LostRuns(self._server)
        self._timeout = timeout
        self._dead_letter = dead_letter
        # The times up to which events and ended runs have been checked.
        self._begun_until: datetime | None = None
        self._reconciled_until: datetime | None = None
        self._stored_at: datetime | None = None
        self._reconciled: set[UUID] = set()
        self._ignored_events: set[UUID] = set()

    async def turn(self) -> SweepResult:
        """Runs one turn. If a service does not answer, it does the parts that do not need it, then
        raises OutageError or StorageUnavailableError."""
        now, swept = datetime.now(UTC), SweepResult()
        if self._begun_until is None or self._reconciled_until is None:
            earliest = now - MAX_LOOKBACK
            stored = await self._server.swept_until()
            self._begun_until = self._reconciled_until = max(stored or earliest, earliest)
        failures: list[TransientError] = []
        for part in (
            partial(self._begin, now, self._begun_until, swept),
            partial(self._end_lost, now, swept),
            partial(self._reconcile_stale, now, swept),
            partial(self._reconcile_ended, now, self._reconciled_until),
            partial(self._send_events, now, swept),
            partial(self._store_time, now),
        ):
            try:
                await part()
            except TransientError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return swept

    async def _store_time(self, now: datetime) -> None:
        """Stores the time up to which everything is checked, for the next start of the bridge."""
        if self._stored_at and now - self._stored_at < STORE_INTERVAL:
            return
        if self._begun_until and self._reconciled_until:
            await self._server.store_swept_until(min(self._begun_until, self._reconciled_until))
            self._stored_at = now

    async def _begin(self, now: datetime, swept_until: datetime, swept: SweepResult) -> None:
        """Starts the runs of stored events whose automation has not started them."""
        since, until = swept_until - OVERLAP, now - TRIGGER_GRACE
        lately = FlowRunFilter(expected_start_time=FlowRunFilterExpectedStartTime(after_=since))
        runs = self._server.runs_of([BEGIN_CLIP_GENERATION], lately)
        begun = {
            str(id): run.created async for run in runs if (id := run.parameters.get("event_id"))
        }
        starting = any(at and at > now - TRIGGER_GRACE for at in begun.values())
        events = [event async for event in self._server.requests(since, until)]
        unbegun = missed(events, begun, starting=starting)
        failure: RequestRejectedError | None = None
        for event in unbegun:
            if event.id in self._ignored_events:
                continue
            try:
                request = _request(event)
                await self._server.start_run(_begin_job(event.id, request), f"event:{event.id}", [])
            except InvalidInputError as error:
                # Another client has posted an event with the same name.
                logger.error("event=%s was not posted by the bridge: %s", event.id, error)
                self._ignored_events.add(event.id)
            except RequestRejectedError as error:
                try:
                    await self._dead_letter(_redrivable(event.id, request, now), error.message)
                except RequestRejectedError as refusal:
                    # The next turn tries it again, but the events behind it must not wait for it.
                    logger.error("event=%s is not dead-lettered: %s", event.id, refusal)
                    failure = refusal
                    continue
                logger.error("dead-lettered event=%s: %s", event.id, error.message)
                self._ignored_events.add(event.id)
            else:
                logger.warning("no run for event=%s: started now", event.id)
                swept.begun += 1
        if failure:
            raise failure
        # What still waits is checked again, however long the others take.
        done = {*begun, *(str(event.id) for event in unbegun)}
        waiting = (event.occurred for event in events if str(event.id) not in done)
        self._begun_until = min([until, *waiting])
        self._ignored_events &= {event.id for event in events}

    async def _end_lost(self, now: datetime, swept: SweepResult) -> None:
        swept.lost += await self._lost.end(now)

    async def _reconcile_stale(self, now: datetime, swept: SweepResult) -> None:
        """Restarts, or marks as failed, each record in progress without a live run."""
        entries = await asyncio.to_thread(lambda: list(self._records.in_progress(now)))
        if not entries:
            return
        swept.in_progress, swept.oldest_seconds = len(entries), _seconds(entries[0].since, now)
        old = [entry for entry in entries if entry.since < timestamp(now - ENDED_RUN_GRACE)]
        owners = (entry.owner for entry in old)
        runs = {str(run.id): run async for run in self._server.runs_by_id(owners)}
        for entry in old:
            run = runs.get(entry.owner)
            if run is None or _is_long_over(run, now):
                await self._reconcile_record(entry, run, swept)

    async def _reconcile_record(
        self, entry: ClaimedRecord, owner: FlowRun | None, swept: SweepResult
    ) -> None:
        """Starts the record's run again once, if that may help, and marks the record as failed.

        Marking it shows the failure even if no worker is running; the second run claims the record
        again.
        """
        error = error_of(owner, owner.state) if owner else None
        if not (owner and RESTARTED_TAG in owner.tags) and not isinstance(error, TerminalError):
            job = job_of(entry.keys)
            parameters = owner.parameters if owner else job.parameters
            key = f"{RESTARTED_TAG}:{'/'.join(entry.keys.record.values())}:{entry.owner}"
            try:
                run = await self._server.start_run(Job(job.flow, parameters), key, [RESTARTED_TAG])
            except RequestRejectedError as refusal:
                logger.error("%s cannot be started again: %s", entry.keys.label, refusal)
            else:
                logger.warning("%s had no live run: run %s continues it", entry.keys.label, run.id)
                swept.started_again += 1
        await asyncio.to_thread(self._mark, entry, error)
        swept.marked += 1

    def _mark(self, entry: ClaimedRecord, error: ClipflowError | None) -> None:
        lost = MachineLostError(
            "Its run ended and left it in progress.", "Start it again to continue."
        )
        try:
            self._records.fail(entry.keys, entry.owner, Failure.of(error or lost))
            logger.warning("%s had no live run: marked as failed", entry.keys.label)
        except OwnershipLostError as not_owned:
            logger.info("%s", not_owned)

    async def _reconcile_ended(self, now: datetime, swept_until: datetime) -> None:
        """Does what the flow `mark-failed` does, for each run that failed since the last turn."""
        since, until = swept_until - OVERLAP, now - ENDED_RUN_GRACE
        ended = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=FAILED_STATES)),
            end_time=FlowRunFilterEndTime(after_=since, before_=until),
        )
        runs = [run async for run in self._server.runs_of(JOBS, ended)]
        failure: RequestRejectedError | None = None
        for run in runs:
            if run.id in self._reconciled:
                continue
            try:
                async with request_errors(self._timeout):
                    await asyncio.to_thread(reconcile.fn, run.id)
                if RESTARTED_TAG in run.tags:
                    await self._dead_letter_lost(run, now)
            except RequestRejectedError as refusal:
                logger.error("run %s is not reconciled: %s", run.id, refusal)
                failure = refusal
            else:
                self._reconciled.add(run.id)
        if failure:
            raise failure
        self._reconciled_until = until
        self._reconciled &= {run.id for run in runs}

    async def _send_events(self, now: datetime, swept: SweepResult) -> None:
        swept.events_sent += await self._unsent.send(now)

    async def _dead_letter_lost(self, run: FlowRun, now: datetime) -> None:
        """Dead-letters the event of a failed second run if some of its clips have no record.

        A clip that is defined by its event has no record before a run claims it.
        """
        error = error_of(run, run.state)
        try:
            event_id = UUID(str(run.parameters.get("event_id")))
            request = parse_request(run.parameters)
        except (InvalidInputError, ValueError):
            return
        lost = await asyncio.to_thread(self._without_record, request)
        if error and lost:
            reason = f"No record of {', '.join(lost)}: {error.message}"
            await self._dead_letter(_redrivable(event_id, request, now), reason)
            logger.error("dead-lettered event=%s: %s", event_id, reason)

    def _without_record(self, request: BeginClipGeneration) -> list[str]:
        where = (request.tenant_id, request.episode_id)
        ids = [clip.clip_id for clip in request.clips or []]
        return [id for id in ids if self._records.clip(ClipKeys(*where, id)) is None]


def missed(events: Collection[Event], begun: Collection[str], *, starting: bool) -> list[Event]:
    """The events for which Prefect will start no run, as their ids are not among those `begun`.

    Prefect starts runs in the order of the events. So while it is `starting` some, only an event
    before another one that has begun is missed, and the later ones may still be waiting.
    """
    waiting = [event for event in events if str(event.id) not in begun]
    if starting:
        last = max((e.occurred for e in events if str(e.id) in begun), default=None)
        return [event for event in waiting if last and event.occurred < last]
    return waiting


def _request(event: Event) -> BeginClipGeneration:
    """The request in an event. Raises InvalidInputError if the bridge has not posted the event."""
    detail = event.payload.get("detail")
    # A bridge of clipflow 0.1 posted the detail itself.
    request = parse_json(detail, "the event") if isinstance(detail, str) else event.payload
    return BeginClipGeneration.read(request, "the event")


def _begin_job(event_id: UUID, request: BeginClipGeneration) -> Job:
    parameters = {
        "tenant_id": request.tenant_id,
        "episode_id": request.episode_id,
        "request": request_text(request),
        "event_id": str(event_id),
    }
    return Job(BEGIN_CLIP_GENERATION, parameters)


def _redrivable(event_id: UUID, request: BeginClipGeneration, now: datetime) -> str:
    """The event as a queue message that an operator can move back to the queue.

    Prefect already has an event with this id and would ignore it as a duplicate, so the message has
    a new id, derived from the old one.
    """
    return envelope(uuid5(event_id, "redrive"), request, now)


def _seconds(since: str, now: datetime) -> int:
    """Seconds since a timestamp; 0 if it is invalid, since other programs can write records."""
    try:
        then = datetime.fromisoformat(since)
    except ValueError:
        return 0
    return int((now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds())


def _is_long_over(run: FlowRun, now: datetime) -> bool:
    state = run.state
    return state is not None and state.is_final() and now - state.timestamp > ENDED_RUN_GRACE
