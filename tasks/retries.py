"""The retry policies of all tasks: a step is retried unless its error is a `TerminalError`."""

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from clipflow.domain.errors import TerminalError

# The name of the state of a run that waits because ECS refused to start its task.
AWAITING_CAPACITY = "AwaitingCapacity"


async def should_retry(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the error of `state` is not a `TerminalError`."""
    return not isinstance(await state.aresult(raise_on_failure=False), TerminalError)


# Media steps wait 2, 4 and 8 seconds, each with jitter.
MEDIA: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": should_retry,
}
RECORDS: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": 1,
    "retry_jitter_factor": 1,
    "retry_condition_fn": should_retry,
}
# Recovery is the last resort, so its retries outlast an outage of several minutes.
RECOVERY: dict[str, Any] = {**RECORDS, "retries": 10, "retry_delay_seconds": exponential_backoff(2)}
# The child tasks of shorts wait 30 and 60 seconds.
CHILD: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [30, 60],
    "retry_condition_fn": should_retry,
}
