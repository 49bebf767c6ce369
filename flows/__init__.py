"""The flows: the steps of each job and their order."""

from tasks.outages import limit_waits
from tasks.telemetry import trace_runs

limit_waits()

# Prefect opens a run's span as soon as it has imported the flow, so the hooks are set here.
trace_runs()
