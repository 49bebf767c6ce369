"""`python -m deployments.local_stack.worker`: one process that serves all of the local work pools.

`prefect worker start` serves one pool, and four of them would take four times the memory. It also
polls at a fixed interval: four pools that are polled every 0.4 s take a quarter of a core from an
idle machine. Here the pools are polled at that interval only while runs change state, which
Prefect's server sends over its websocket.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.settings import PREFECT_WORKER_HEARTBEAT_SECONDS
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import ProcessWorker

from deployments.local_stack.stack_settings import WORK_POOLS

logger = logging.getLogger(__name__)

# A run that is scheduled for later, as a retry is, starts at most this late. So does every run
# while the websocket is disconnected.
IDLE_SECONDS = 2.0
# How long the pools are polled at Prefect's interval after a run has changed its state: a run that
# is scheduled may become visible, and a run that ends may make room for the next one.
ACTIVE_SECONDS = 1.5


class Activity:
    """When the work pools are polled; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = clock()

    def changed(self) -> None:
        """To be called when a flow run has changed its state."""
        self._changed = self._clock()

    def poll_due(self, polled: float) -> bool:
        """Whether a pool is polled now that was last polled at `polled`, in the clock's seconds."""
        now = self._clock()
        return now - self._changed <= ACTIVE_SECONDS or now - polled >= IDLE_SECONDS

    def now(self) -> float:
        return self._clock()


class LocalWorker(ProcessWorker):
    """A process worker that polls its pool only where `Activity` says so."""

    def __init__(self, activity: Activity, **options: Any) -> None:
        super().__init__(**options)
        self._activity = activity
        self._polled = 0.0

    @classmethod
    def __dispatch_key__(cls) -> str:
        """A key of its own: Prefect warns if a class replaces its own worker of type `process`."""
        return "clipflow-local"

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        if not self._activity.poll_due(self._polled):
            return []
        self._polled = self._activity.now()
        return await super().get_and_submit_flow_runs()


async def watch_runs(activity: Activity) -> None:
    """Reports each change of a flow run's state to `activity`, until it is cancelled.

    While Prefect does not answer, it tries to connect again; the pools are polled meanwhile.
    """
    runs = EventFilter(event=EventNameFilter(prefix=["prefect.flow-run."]))
    while True:
        try:
            async with get_events_subscriber(filter=runs) as events:
                async for _ in events:
                    activity.changed()
        except Exception as error:  # noqa: BLE001  # websockets, httpx and Prefect each have their own
            logger.debug("No events from Prefect: %s", error)
        await asyncio.sleep(IDLE_SECONDS)


async def serve() -> None:
    """Serves the pools until this process is signalled to end; then ends their flow runs."""
    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    activity = Activity()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch_runs(activity))
        workers = [
            LocalWorker(
                activity,
                name="clipflow-local",
                work_pool_name=pool,
                heartbeat_interval_seconds=int(PREFECT_WORKER_HEARTBEAT_SECONDS.value()),
            )
            for pool in WORK_POOLS
        ]
        await asyncio.gather(*(worker.start() for worker in workers))
        watching.cancel()


if __name__ == "__main__":
    asyncio.run(serve())
