"""The verbs that operate clipflow, on AWS and on one machine: `python -m deployments.operate`.

    deploy, destroy   templates → change sets → stacks; work pools; workers
    status, runs      what there is, what waits, what runs
    run-shorts, run-clips, logs

What the account is called comes from the environment and from the stacks' own outputs.
"""
