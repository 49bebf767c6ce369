"""Finds out whether ECS's refusal to start a task is temporary, and configures waiting times."""

from collections.abc import Iterator

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
from pydantic import Field
from pydantic_settings import BaseSettings

# Error codes of ECS that say nothing about the request itself. Amazon ECS API Reference, RunTask
# and common errors.
_CODES = {
    "LimitExceededException",
    "RequestLimitExceeded",
    "ServerException",
    "ServiceUnavailable",
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
}
# Parts of the reasons in RunTask's `failures`, and of messages with other error codes, in lower
# case. The last two are of instances: their CPU, memory or GPUs are in use, or their agent is not
# connected.
_REASONS = (
    "capacity is unavailable",
    "reached the limit on the number of",
    "no capacity",
    "insufficient free addresses",
    "rate exceeded",
    "resource:",
    "agent",
)


class WorkerSettings(BaseSettings):
    """What a worker does if ECS refuses to start a task. `make deploy` passes these on."""

    capacity_wait: float = Field(
        default=40.0,
        gt=0,
        validation_alias="CLIPFLOW_CAPACITY_WAIT_SECONDS",
        description="How long a run waits before it is tried again, on average, if ECS has no"
        " capacity, a quota is used up, or requests are throttled.",
    )
    spot_patience: float = Field(
        default=300.0,
        ge=0,
        validation_alias="CLIPFLOW_SPOT_PATIENCE_SECONDS",
        description="For how long Fargate Spot has to refuse every task before tasks of a pool on"
        " Spot are started on demand.",
    )


def refusal(error: BaseException) -> str | None:
    """The reason for which ECS refused to start a task if it may start it later, else None.

    `error` is what prefect-aws raises; its cause is what boto3 raised.
    """
    for cause in _chain(error):
        if isinstance(cause, ConnectionError | HTTPClientError):
            return str(cause)
        if isinstance(cause, ClientError) and cause.response["Error"]["Code"] in _CODES:
            return str(cause)
        text = str(cause).lower()
        if text.startswith("failed to run ecs task: ") or isinstance(cause, ClientError):
            reason = text.removeprefix("failed to run ecs task: ")
            if any(part in reason for part in _REASONS):
                return str(cause)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__
