"""Lets the Prefect clients of a run's process outlast an outage, with the retries of its settings.

Two things have no setting in Prefect 3.8, and this can be removed when they do:

- The client doubles its wait at each retry, without a maximum: after ten minutes without its server
  it would wait for up to seven more, after half an hour for another half.
- A client does not repeat its first connection, so that a wrong address is noticed. A run uses
  several clients, and its process has received the run from the same address.

The number of retries is set in the environment of runs (`deployments/run_environment.py`).
"""

from prefect.client import base
from prefect.utilities.math import clamped_poisson_interval

LONGEST_WAIT_SECONDS = 30.0


def limited_interval(average_interval: float, clamping_factor: float = 0.3) -> float:
    """As Prefect's: a random interval around `average_interval`, which is limited here."""
    return clamped_poisson_interval(min(average_interval, LONGEST_WAIT_SECONDS), clamping_factor)


def outlast_outages() -> None:
    """Changes all clients of this process, also later ones."""
    base.clamped_poisson_interval = limited_interval  # type: ignore[attr-defined]
    connected = property(lambda _client: True, lambda _client, _value: None)
    for client in (base.PrefectHttpxSyncClient, base.PrefectHttpxAsyncClient):
        client._has_connected = connected  # type: ignore[assignment]
