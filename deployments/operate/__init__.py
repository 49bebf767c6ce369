"""The commands that operate clipflow, on AWS or on one machine: `python -m deployments.operate`.

    deploy, destroy        create, update or delete stacks, work pools and workers
    status, runs, logs     show resources, runs, and log lines
    run-shorts, run-clips  start a run, or request clips by an event

The names of an account's resources are read from the environment, or else from the outputs of its
stacks.
"""
