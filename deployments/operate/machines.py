"""The machines of flow runs, which outlive the worker that started them."""

from collections.abc import Collection, Iterator
from typing import Any

# The most that ECS lists, describes or waits for at once.
_AT_ONCE = 100


def end_flow_runs(ecs: Any, cluster: str, families: Collection[str]) -> int:
    """Ends every task of these families; returns how many, once they are over."""
    running = list(_running(ecs, cluster, families))
    for task in running:
        ecs.stop_task(cluster=cluster, task=task, reason="clipflow is taken down.")
    for start in range(0, len(running), _AT_ONCE):
        some = running[start : start + _AT_ONCE]
        ecs.get_waiter("tasks_stopped").wait(cluster=cluster, tasks=some)
    return len(running)


def _running(ecs: Any, cluster: str, families: Collection[str]) -> Iterator[str]:
    for family in families:
        pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, family=family)
        for page in pages:
            yield from page["taskArns"]
