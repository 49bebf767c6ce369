"""Lets the Prefect clients of a run's process outlast an outage, with the retries of its settings.

Three things have no setting in Prefect 3.8, and this can be removed when they do:

- The client doubles its wait at each retry, without a maximum: after ten minutes without its server
  it would wait for up to seven more, after half an hour for another half.
- A client does not repeat its first connection, so that a wrong address is noticed. A run uses
  several clients, and its process has received the run from the same address.
- Every seven seconds of an outage, the client of events logs a warning, and its queue an error with
  the whole event. The events are kept, and sent when the server is back.

The number of retries is set in the environment of runs (`deployments/run_environment.py`).
"""

import logging
from typing import Any

from prefect.client import base
from prefect.events.clients import PrefectEventsClient
from prefect.utilities.math import clamped_poisson_interval

LONGEST_WAIT_SECONDS = 30.0
# Prefect's loggers of its client of events, and of the queue before it.
_CLIENT, _QUEUE = "prefect.events.clients", "prefect._internal.concurrency"
logger = logging.getLogger("clipflow.outages")
logger.setLevel(logging.INFO)


class OncePerOutage(logging.Filter):
    """Lets through the first warning of each time in which Prefect takes no events."""

    is_away = False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == _CLIENT and str(record.msg).startswith("Unable to connect"):
            was_away, self.is_away = self.is_away, True
            return not was_away
        is_event = str(record.msg).startswith("Service %r failed to process item")
        return not (self.is_away and is_event and "EventsWorker" in record.getMessage())

    def end(self) -> None:
        """Logs the end of an outage, if there is one."""
        if self.is_away:
            self.is_away = False
            logger.info("Prefect takes events again.")


def limited_interval(average_interval: float, clamping_factor: float = 0.3) -> float:
    """As Prefect's: a random interval around `average_interval`, which is limited here."""
    return clamped_poisson_interval(min(average_interval, LONGEST_WAIT_SECONDS), clamping_factor)


def outlast_outages() -> None:
    """Changes all clients of this process, also later ones."""
    base.clamped_poisson_interval = limited_interval  # type: ignore[attr-defined]
    connected = property(lambda _client: True, lambda _client, _value: None)
    for client in (base.PrefectHttpxSyncClient, base.PrefectHttpxAsyncClient):
        client._has_connected = connected  # type: ignore[assignment]
    warn_once()


def warn_once() -> None:
    """Makes one line of the warnings of an outage, and one of its end."""
    outage, reconnect = OncePerOutage(), PrefectEventsClient._reconnect
    for name in (_CLIENT, _QUEUE):
        logging.getLogger(name).addFilter(outage)

    async def reconnect_and_report(self: PrefectEventsClient) -> Any:
        await reconnect(self)
        outage.end()

    PrefectEventsClient._reconnect = reconnect_and_report  # type: ignore[method-assign]
