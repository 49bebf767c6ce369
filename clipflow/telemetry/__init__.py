"""Log lines, metric events and traces of a run, without Prefect."""
