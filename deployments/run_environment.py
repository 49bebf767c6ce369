"""The environment of every flow run, the same on one machine and on AWS.

`infra/warm.yaml` repeats it for warm machines, because a template cannot import it.
"""

from collections.abc import Mapping

from clipflow.telemetry import tracing

# JSON lines, except on a terminal. A log record outside of a run is written only to the console.
LOGGING = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": "tasks.telemetry.Console",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
# A run waits for a Prefect server that is away: 2, 4, 8 and 16 s, then 24 to 36 s each time
# (tasks/outages.py), for at least an hour. Prefect's five retries last one minute. A server whose
# database is away answers 500, a load balancer 504; the client always repeats 502 and 503, and
# connections that are refused or broken.
OUTAGES = {
    "PREFECT_CLIENT_MAX_RETRIES": "155",
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,504",
}
RUN_ENVIRONMENT = {
    **LOGGING,
    **OUTAGES,
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # A run has several clients, and each would ask the server for its version first.
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    # Log records of the package `clipflow` show in the UI with those of their task.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "clipflow",
}
# Without it, each run stores its place in its trace in Prefect, also if its spans are sent nowhere.
_WITHOUT_SPANS = {"PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false"}


def run_environment(others: Mapping[str, str]) -> dict[str, str]:
    """The environment of runs that also have the variables `others`."""
    return {**RUN_ENVIRONMENT, **({} if tracing.is_enabled(others) else _WITHOUT_SPANS)}
