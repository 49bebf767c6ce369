"""The flows: which steps a job has, and in which order."""

from tasks.telemetry import trace_runs

# Prefect opens a run's span as soon as it has imported the flow, so the hooks are set here.
trace_runs()
