"""The commands that operate clipflow, on AWS or on one machine: `python -m deployments.operate`.

    deploy, destroy   templates → change sets → stacks; work pools; workers
    status, runs      what there is, what waits, what runs
    run-shorts, run-clips, logs

The names of an account's resources come from the environment and from the outputs of its stacks.
"""
