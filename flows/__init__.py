"""The flows: the steps of each job and their order."""

from tasks.outages import outlast_outages
from tasks.related_resources import know_related_resources
from tasks.telemetry import trace_runs

outlast_outages()
know_related_resources()

# Prefect opens a run's span as soon as it has imported the flow, so the hooks are set here.
trace_runs()
