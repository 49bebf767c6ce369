"""What a parent learns from Prefect about the ends of its child runs, without asking.

Prefect's server pushes events over a websocket. An event can be lost, and there are servers and
proxies without websockets, so a parent also reads the states of its children, rarely or often
(`ChildRunGroup`).
"""

import asyncio
import logging
from collections.abc import Callable
from contextvars import copy_context
from threading import Event as ThreadEvent
from threading import Thread
from uuid import UUID

from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.events import Event, ResourceSpecification
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import (
    EventAnyResourceFilter,
    EventFilter,
    EventNameFilter,
    EventResourceFilter,
)

logger = logging.getLogger(__name__)

# The wait before the first attempt to connect again. It doubles, because a server that has no
# websockets will not get any, and the states are read meanwhile.
_RETRY_SECONDS = 2.0
_LONGEST_RETRY_SECONDS = 60.0
# A thread that looks up a host's name cannot be interrupted, and must not delay the end of a run.
_JOIN_SECONDS = 2.0
_RUN = "prefect.flow-run."


def ends_of(tag: str) -> EventFilter:
    """The events of flow runs with this tag that end, whatever the name of their state is."""
    states = {"prefect.state-type": sorted(state.value for state in TERMINAL_STATES)}
    return EventFilter(
        event=EventNameFilter(prefix=[_RUN]),
        resource=EventResourceFilter(labels=ResourceSpecification(states)),
        # Prefect 3.8.8 applies a filter of related resources only to stored events.
        any_resource=EventAnyResourceFilter(id=[f"prefect.tag.{tag}"]),
    )


class EndListener:
    """A thread that listens until `stop`.

    It calls `on_connection` with whether it is connected, and `on_end` with the id of each run that
    ends. Events from shortly before a connection are repeated.
    """

    def __init__(
        self, tag: str, on_connection: Callable[[bool], None], on_end: Callable[[UUID], None]
    ) -> None:
        self._tag, self._on_connection, self._on_end = tag, on_connection, on_end
        self._stopped = ThreadEvent()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        # Prefect's settings are in the context.
        context = copy_context()
        self._thread = Thread(
            target=lambda: context.run(asyncio.run, self._run()), name="child-ends", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Closes the connection and ends the thread."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        if self._loop and self._task and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._task.cancel)
            except RuntimeError:  # The loop was closed just now.
                return
        self._thread.join(_JOIN_SECONDS)

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.create_task(self._listen())
        # `stop` may have come before there was something to cancel.
        if self._stopped.is_set():
            self._task.cancel()
        await asyncio.wait({self._task})

    async def _listen(self) -> None:
        wait = _RETRY_SECONDS
        while True:
            # Without attempts of its own: the states are read as long as it is not connected.
            events = get_events_subscriber(filter=ends_of(self._tag), reconnection_attempts=0)
            try:
                await events.__aenter__()
                self._on_connection(True)
                async for event in events:
                    # Not before, because a server or a proxy may close each connection at once.
                    wait = _RETRY_SECONDS
                    self._report(event)
            except Exception as error:  # noqa: BLE001  # websockets and Prefect each have their own
                logger.debug("No events of %s from Prefect: %s", self._tag, error)
            finally:
                self._on_connection(False)
                # Not by `async with`, which leaves a connection open that was not accepted.
                await events.__aexit__(None, None, None)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_RETRY_SECONDS)

    def _report(self, event: Event) -> None:
        self._on_end(UUID(event.resource.id.removeprefix(_RUN)))
