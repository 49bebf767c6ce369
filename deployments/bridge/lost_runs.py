"""Ends the runs that are lost: whose machine sends no heartbeat, or never started.

Automations of Prefect could do this, but their timers also run out while nothing can arrive: a
server that was away for two minutes declared each run lost three seconds after its return, before
one could send a heartbeat. Here, time counts only while Prefect answers.

A busy server stores events late: a minute late, in a flood on one machine. So a run is lost only if
its heartbeats are still missing when an event that was sent after them is stored.
"""

import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from deployments.bridge.prefect_server import FLOWS, PAGE, Server
from tasks.children import LAUNCH_TIMEOUT

logger = logging.getLogger(__name__)

# A run sends a heartbeat every 30 s. Ten seconds later, at the next turn, the run may be lost.
SILENCE = timedelta(seconds=80)
# A process starts within seconds, even if fifty start at once.
LONGEST_START = timedelta(minutes=2)
# After a longer time between two turns, Prefect, the network or this machine was away. A turn
# takes seconds, and the next follows after 10 s.
LONGEST_TURN = timedelta(seconds=45)
# An event that is not stored for so long was lost, with the server that had accepted it.
_LONGEST_PROBE = timedelta(minutes=3)
_ACTIVE = FlowRunFilterState(
    type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING])
)


@dataclass(frozen=True)
class _Probe:
    """An event of the bridge, which follows the heartbeats of the runs that were silent then."""

    id: UUID
    sent: datetime
    silent: frozenset[UUID]


class LostRuns:
    """Finds and ends them, turn by turn."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # When the server answered last, and since when it has answered without a longer pause.
        self._answered: datetime | None = None
        self._answers_since: datetime | None = None
        # The last heartbeat of each run, as far as it is known.
        self._heard: dict[UUID, datetime] = {}
        self._probe: _Probe | None = None

    async def end(self, now: datetime) -> int:
        """Ends the runs that are lost; returns their number."""
        active = await self._active(now - SILENCE)
        if self._answered is None or now - self._answered > LONGEST_TURN:
            self._answers_since, self._probe = now, None
        self._answered = now
        lost = await self._lost([run for run in active if _is(run, StateType.RUNNING)], now)
        late = await self._late([run for run in active if _is(run, StateType.PENDING)], now)
        for run in lost:
            await self._end(run, "HeartbeatLost", f"No heartbeat for {SILENCE.seconds} s.")
        for run in late:
            await self._end(run, "NeverStarted", "It was handed to a worker, and did not start.")
        return len(lost) + len(late)

    async def _active(self, since: datetime) -> list[FlowRun]:
        """The runs that a worker has taken and that have had their state since then."""
        due = FlowRunFilterExpectedStartTime(before_=since)
        only = FlowRunFilter(state=_ACTIVE, expected_start_time=due)
        return [
            run
            async for run in self._server.runs_of(FLOWS, only)
            # A run that a person starts without a worker may send heartbeats at other intervals.
            if run.work_pool_name and run.state and run.state.timestamp <= since
        ]

    async def _lost(self, running: Collection[FlowRun], now: datetime) -> list[FlowRun]:
        """Those that were silent when a probe was sent, and still are when it is stored."""
        probe, stored = self._probe, False
        if probe:
            # Before the heartbeats are read: they come before it.
            stored = bool(await self._server.stored({probe.id}))
        silent = await self._silent(running, now)
        if probe is None or stored or now - probe.sent > _LONGEST_PROBE:
            self._probe = await self._send_probe(silent, now) if silent else None
        return [run for run in silent if probe and stored and run.id in probe.silent]

    async def _silent(self, running: Collection[FlowRun], now: datetime) -> list[FlowRun]:
        """Those of which no heartbeat of the last `SILENCE` is stored, while Prefect answered."""
        since = now - SILENCE
        self._heard = {run.id: self._heard[run.id] for run in running if run.id in self._heard}
        asked = [run.id for run in running if self._heard.get(run.id, since) <= since]
        for start in range(0, len(asked), PAGE):
            some = asked[start : start + PAGE]
            self._heard |= await self._server.heartbeats(some, since, now)
        if not self._has_answered(since):
            return []
        return [run for run in running if self._heard.get(run.id, since) <= since]

    async def _send_probe(self, silent: Collection[FlowRun], now: datetime) -> _Probe:
        probe = _Probe(uuid4(), now, frozenset(run.id for run in silent))
        event = {
            "id": str(probe.id),
            "occurred": datetime.now(UTC).isoformat(),
            "event": "clipflow.bridge.probe",
            "resource": {"prefect.resource.id": "clipflow.bridge"},
        }
        await self._server.post({probe.id: json.dumps(event).encode()})
        return probe

    async def _late(self, pending: Collection[FlowRun], now: datetime) -> list[FlowRun]:
        """Those that a worker has taken so long ago that they can no longer start."""
        if not pending:
            return []
        types = await self._server.pool_types()

        def can_start(run: FlowRun) -> bool:
            is_process = types.get(run.work_pool_name or "") == ProcessWorker.type
            since = now - (LONGEST_START if is_process else LAUNCH_TIMEOUT)
            taken = run.state.timestamp if run.state else now
            return taken > since or not self._has_answered(since)

        return [run for run in pending if not can_start(run)]

    def _has_answered(self, since: datetime) -> bool:
        """Whether Prefect has answered all the time since then."""
        return self._answers_since is not None and self._answers_since <= since

    async def _end(self, run: FlowRun, name: str, message: str) -> None:
        # Prefect refuses this state for a run that has ended meanwhile.
        state: State[None] = Crashed(name=name, message=message)
        await self._server.set_state(run.id, state)
        logger.warning("%s, run %s: %s", run.name, run.id, message)


def _is(run: FlowRun, type: StateType) -> bool:
    return run.state is not None and run.state.type == type
