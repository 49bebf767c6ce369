"""What happens, in which order."""

from tasks.telemetry import trace_runs

# Prefect opens a run's span as soon as it has imported the flow.
trace_runs()
