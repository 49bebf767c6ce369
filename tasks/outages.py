"""Limits the wait between two tries of Prefect's client, with which a run outlasts an outage.

The client doubles its wait at each retry, without a maximum (Prefect 3.8): after ten minutes
without its server it would wait for up to seven more, after half an hour for another half. The
number of retries is set in the environment of runs (`deployments/run_environment.py`). Elsewhere it
is Prefect's default of five, whose waits are not changed by this. It can be removed when Prefect
has a setting for the longest wait.
"""

from prefect.client import base
from prefect.utilities.math import clamped_poisson_interval

LONGEST_WAIT_SECONDS = 30.0


def limited_interval(average_interval: float, clamping_factor: float = 0.3) -> float:
    """As Prefect's: a random interval around `average_interval`, which is limited here."""
    return clamped_poisson_interval(min(average_interval, LONGEST_WAIT_SECONDS), clamping_factor)


def limit_waits() -> None:
    """Limits the waits of all clients of this process."""
    base.clamped_poisson_interval = limited_interval  # type: ignore[attr-defined]
