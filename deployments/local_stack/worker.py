"""`python -m deployments.local_stack.worker`: one process that serves all of the local work pools.

`prefect worker start` serves one pool, and four of them would take four times the memory. It also
polls at a fixed interval, which is too long for a run that waits and too short for an idle machine:
four pools that are polled every 0.4 s take a quarter of a core. Here a pool is polled as soon as a
run of it is scheduled or ends, which Prefect's server sends over its websocket.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from math import inf
from typing import Any

from anyio.abc import TaskStatus
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.settings import PREFECT_WORKER_HEARTBEAT_SECONDS
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import (
    ProcessJobConfiguration,
    ProcessWorker,
    ProcessWorkerResult,
)

from deployments.local_stack.stack_settings import STARTERS, WORK_POOLS
from deployments.work_pools.fewer_requests import FewerRequests
from tasks.outages import outlast_outages

logger = logging.getLogger(__name__)

# A run that is scheduled for later, as a retry is, starts at most this late. So does every run
# while the websocket is disconnected.
IDLE_SECONDS = 2.0
# How long a pool is polled at `ACTIVE_INTERVAL` after a change: a run that is scheduled may become
# visible only when its transaction ends, and a limit of concurrent runs may be freed later still.
ACTIVE_SECONDS = 1.5
ACTIVE_INTERVAL = 0.4
# At most so many polls of a pool within so many seconds. While many runs are scheduled, each poll
# finds some, and a server that answers ten polls a second uses a third of its time for them.
MOST_POLLS = 5
MOST_POLLS_SECONDS = 2.5
# A forked run that starts the clips of one event takes about a second. One that takes longer also
# starts those of other events. Until they are started, no clip is made, for at most this time.
ONE_EVENT_SECONDS = 1.5
MOST_BURST_SECONDS = 30.0
# A run that is scheduled has to be started, and one that ends may make room for the next one.
_RELEVANT = {state.value for state in {StateType.SCHEDULED, *TERMINAL_STATES}}


class Activity:
    """When a work pool is polled; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = clock()
        self._change = asyncio.Event()
        self._polls = deque[float]([-inf], maxlen=MOST_POLLS)

    def changed(self) -> None:
        """To be called when a run of the pool is scheduled or ends."""
        self._changed = self._clock()
        self._change.set()

    def polled(self) -> None:
        """To be called when the pool is polled."""
        self._polls.append(self._clock())

    def seconds_to_poll(self) -> float:
        """How long to wait with the next poll of the pool if there is no further change."""
        now, last = self._clock(), self._polls[-1]
        if len(self._polls) == MOST_POLLS and self._polls[0] + MOST_POLLS_SECONDS > now:
            return self._polls[0] + MOST_POLLS_SECONDS - now
        if self._changed >= last:
            return 0
        active = now - self._changed <= ACTIVE_SECONDS
        return max(0, last + (ACTIVE_INTERVAL if active else IDLE_SECONDS) - now)

    async def wait_until_due(self) -> None:
        """Returns when the pool has to be polled again."""
        while seconds := self.seconds_to_poll():
            self._change.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._change.wait(), seconds)


class Burst:
    """A burst of events: runs that start clips have been in progress for longer than one event.

    While one clip is made, the clips of four other events could be started with the same use of
    the cores. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_progress = 0
        self._since = -inf

    @contextmanager
    def starter(self) -> Iterator[None]:
        """The context in which a run that starts clips is in progress."""
        if not self._in_progress:
            self._since = self._clock()
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1

    def is_on(self) -> bool:
        seconds = self._clock() - self._since
        return bool(self._in_progress) and ONE_EVENT_SECONDS < seconds < MOST_BURST_SECONDS


class ActivityWorker(FewerRequests, ProcessWorker):
    """A process worker that polls its pool when `Activity` says so.

    Prefect's interval, which it adds after each poll, limits the rate.
    """

    def __init__(self, activity: Activity, **options: Any) -> None:
        super().__init__(**options)
        self._activity = activity

    @classmethod
    def __dispatch_key__(cls) -> str:
        """A key for each class; Prefect warns if a class replaces its worker of type `process`."""
        return cls.__name__

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        await self._activity.wait_until_due()
        self._activity.polled()
        return await super().get_and_submit_flow_runs()


class LocalWorker(ActivityWorker):
    """A worker that takes only runs that start clips during a burst of events."""

    def __init__(self, activity: Activity, burst: Burst, **options: Any) -> None:
        super().__init__(activity, **options)
        self._burst = burst

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        self._work_queues = {STARTERS} if self._burst.is_on() else set()
        return await super()._get_scheduled_flow_runs()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        starter = flow_run.work_queue_name == STARTERS
        with self._burst.starter() if starter else nullcontext():
            return await super().run(flow_run, configuration, task_status)


def report(event: Event, activities: Mapping[str, Activity]) -> None:
    """Reports an event of a flow run to its pool's activity; to all if it has no known pool."""
    if event.resource.get("prefect.state-type") not in _RELEVANT:
        return
    names = [resource.name or "" for resource in event.resources_in_role.get("work-pool", ())]
    known = [activities[name] for name in names if name in activities]
    for activity in known or activities.values():
        activity.changed()


async def watch_runs(activities: Mapping[str, Activity]) -> None:
    """Reports the events of flow runs to the pools' activities, until it is cancelled.

    While Prefect does not answer, it tries to connect again; the pools are polled meanwhile.
    """
    runs = EventFilter(event=EventNameFilter(prefix=["prefect.flow-run."]))
    while True:
        try:
            async with get_events_subscriber(filter=runs) as events:
                async for event in events:
                    report(event, activities)
        except Exception as error:  # noqa: BLE001  # websockets, httpx and Prefect each have their own
            logger.debug("No events from Prefect: %s", error)
        await asyncio.sleep(IDLE_SECONDS)


async def serve() -> None:
    """Serves the pools until this process is signalled to end; then ends their flow runs."""
    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    outlast_outages()
    activities = {pool: Activity() for pool in WORK_POOLS}
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch_runs(activities))
        workers = [
            LocalWorker(
                activity,
                Burst(),
                name="clipflow-local",
                work_pool_name=pool,
                heartbeat_interval_seconds=int(PREFECT_WORKER_HEARTBEAT_SECONDS.value()),
            )
            for pool, activity in activities.items()
        ]
        await asyncio.gather(*(worker.start() for worker in workers))
        watching.cancel()


if __name__ == "__main__":
    asyncio.run(serve())
