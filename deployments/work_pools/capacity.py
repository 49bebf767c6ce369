"""The capacity of an account: what its quotas of Fargate allow, and whether ECS's refusals to start
a task are temporary. Pure functions.

Runs above a quota would not fail: ECS would refuse to start each of them, and the worker would try
again.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
from pydantic import Field
from pydantic_settings import BaseSettings

from deployments.work_pools.pools import WorkPool

# The codes of Fargate's quotas in Service Quotas, and the settings that give their values instead.
ON_DEMAND, SPOT = "L-3032A538", "L-36FBB829"
SETTINGS = {ON_DEMAND: "CLIPFLOW_FARGATE_VCPU", SPOT: "CLIPFLOW_FARGATE_SPOT_VCPU"}


class QuotaSettings(BaseSettings):
    """Quotas of Fargate from which `make deploy` works out limits for pools that have none."""

    on_demand: float | None = Field(
        default=None,
        ge=0,
        validation_alias=SETTINGS[ON_DEMAND],
        description="The quota of Fargate on demand in vCPU; unset, that of Service Quotas.",
    )
    spot: float | None = Field(
        default=None,
        ge=0,
        validation_alias=SETTINGS[SPOT],
        description="The quota of Fargate Spot in vCPU; unset, that of Service Quotas.",
    )


# CPU units of the services: four workers of half a vCPU, and a bridge of a quarter.
_SERVICES = 4 * 512 + 256
# Runs of `marks` at once; each takes seconds.
_MARKS = 2
# The part of the vCPU on demand, without those above, that prepares videos; the rest runs parents.
_PREPARING = 0.7


@dataclass(frozen=True)
class PoolLimits:
    """The runs at once of each pool, by purpose, and what an operator should know about them."""

    runs: Mapping[str, int]
    notes: tuple[str, ...] = ()


def limits(
    pools: Collection[WorkPool], on_demand: float, spot: float, windows: int = 0
) -> PoolLimits:
    """The limits for quotas in vCPU. Pools on instances of your own have none.

    Each pool can run at least one machine, so that a small quota delays work and stops none. If
    `windows` is the number of windows at once of a video, and their machines are larger than their
    pool's, the limit leaves room for them: ECS gives each place that becomes free to smaller ones.
    """
    by_purpose = {pool.purpose: pool for pool in pools}
    found, spot_cpu = {}, int(spot * 1024)
    for pool in pools:
        if pool.launch_type == "FARGATE_SPOT":
            larger = windows * max(0, (pool.window_cpu or 0) - pool.cpu)
            found[pool.purpose] = max(1, (spot_cpu - min(larger, spot_cpu // 2)) // pool.cpu)
    if "marks" in by_purpose and by_purpose["marks"].launch_type == "FARGATE":
        found["marks"] = _MARKS
        on_demand -= _MARKS * by_purpose["marks"].cpu / 1024
    left = int((on_demand - _SERVICES / 1024) * 1024)
    prepare, orchestrate = by_purpose.get("prepare"), by_purpose.get("orchestrate")
    if prepare and prepare.launch_type == "FARGATE":
        found["prepare"] = max(1, int(left * _PREPARING) // prepare.cpu)
        left -= found["prepare"] * prepare.cpu
    if orchestrate and orchestrate.launch_type == "FARGATE":
        found["orchestrate"] = max(1, left // orchestrate.cpu)
    return PoolLimits(found, tuple(_notes(by_purpose, left, spot)))


def _notes(pools: Mapping[str, WorkPool], left: int, spot: float) -> Iterator[str]:
    if left < 0 and "prepare" in pools:
        vcpu = pools["prepare"].cpu // 1024
        yield (
            f"The quota of Fargate on demand leaves no {vcpu} vCPU beside the workers, so no video"
            " is prepared: raise it, or set CLIPFLOW_PREPARE_CPU and CLIPFLOW_PREPARE_MEMORY."
        )
    media = pools.get("media")
    if media and media.launch_type == "FARGATE_SPOT" and spot * 1024 < media.cpu:
        yield "The quota of Fargate Spot allows no machine: segments and shorts run on demand."


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
# Parts of the reasons for which a task ends before its container starts, in lower case.
_NO_CAPACITY = (
    "capacity is unavailable",
    "reached the limit on the number of",
    "no capacity",
    "insufficient free addresses",
)
# Parts of the reasons in RunTask's `failures`, and of messages with other error codes, in lower
# case. The last two are of instances: their CPU, memory or GPUs are in use, or their agent is not
# connected.
_REASONS = (
    *_NO_CAPACITY,
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
    spot_timeout: float = Field(
        default=300.0,
        ge=0,
        validation_alias="CLIPFLOW_SPOT_TIMEOUT_SECONDS",
        description="For how long Fargate Spot has to refuse or lose every task before tasks of a"
        " pool on Spot are started on demand.",
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


def capacity_loss(task: Mapping[str, Any]) -> str | None:
    """The reason for which a stopped task ended if that was lack of capacity, else None.

    `task` is the detail of the event of ECS. It was accepted, but Spot took its capacity back, or
    the capacity was used up before its container started.
    """
    reason = str(task.get("stoppedReason", ""))
    lost = any(part in reason.lower() for part in _NO_CAPACITY)
    if task.get("stopCode") == "SpotInterruption" or (
        task.get("stopCode") == "TaskFailedToStart" and lost
    ):
        return reason or "Spot capacity was taken back."
    return None


# Begins the reason of a run that waits because Spot lost its task before the task started.
LOST_BY_SPOT = "Spot lost its task: "


class SpotDrought:
    """Decides when tasks of a pool on Spot are started on demand. Times are seconds of one clock.

    That is once Spot has had no capacity for `timeout` seconds: it refused every task, or accepted
    some and lost them before they started.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._since: float | None = None
        self._lost_at: float | None = None
        self._ask_at = 0.0

    def should_ask(self, now: float) -> bool:
        """Whether Spot should be asked for a task. A refusal costs nothing, but a task that is
        accepted and lost takes a minute. A Spot that loses tasks is therefore asked for one every
        `timeout` seconds, until that one is not lost."""
        if self._since is None or self._lost_at is None:
            return True
        if self._lost_at - self._since < self._timeout:
            return True
        if now < self._ask_at:
            return False
        if self._lost_at < self._ask_at - self._timeout:
            self._since = self._lost_at = None
        else:
            self._ask_at = now + self._timeout
        return True

    def refused(self, now: float) -> bool:
        """Records a refusal; returns whether the task should be started on demand."""
        if self._since is None:
            self._since = now
        return now - self._since >= self._timeout

    def accepted(self) -> None:
        """Records that Spot has accepted a task, which says nothing if it has lost others."""
        if self._lost_at is None:
            self._since = None

    def lost(self, now: float) -> None:
        """Records that Spot has lost a task that it had accepted, before the task started."""
        # After that long, it is not the same drought.
        if self._lost_at is not None and now - self._lost_at > 3 * self._timeout:
            self._since = None
        self.refused(now)
        self._lost_at = now


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__
