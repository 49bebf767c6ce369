"""The warm machines: which deployments run on them, their work pool, and when there are too few.

A warm machine is a task of ECS that stays, with Prefect's process worker (`deployments/warm`). It
starts a run in a tenth of a second instead of the minute that a new task takes. `infra/warm.yaml`
is its service. Except for the settings, this module has pure functions.
"""

import os
from collections.abc import Mapping
from math import ceil
from typing import Any, Self

import yaml
from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from tasks.flow_runs import BEGIN_CLIP_GENERATION, GENERATE_CLIP
from tasks.telemetry import flow_of_entrypoint

POOL = "clipflow-warm"
DESCRIPTION = "Starts clips and makes short ones, on machines that are already running."
MACHINES = "CLIPFLOW_WARM_MACHINES"
# The flows whose runs start often and are short. What a clip's run finds to be large, it hands to
# the pool `clipflow-media`. A run of `generate-shorts` waits for others for up to hours, and
# `mark-failed` must not wait behind clips.
FLOWS = (BEGIN_CLIP_GENERATION, GENERATE_CLIP)
# What a process worker executes for a run. Without a command, it would first start another Python
# process to prepare a workspace. The worker of a warm machine lets its run server execute this.
COMMAND = "python -m prefect.engine"


class WarmSettings(BaseSettings):
    """Machines that stay, on which runs of clips start at once. Without any, each run starts a
    machine of its own."""

    machines: str = Field(
        default="0-0",
        pattern=r"^\d+-\d+$",
        validation_alias=MACHINES,
        description="The least and the most warm machines, as in `1-4`. With `0` as the least, the"
        " last machine is stopped after a quarter of an hour without work, and the next clip waits"
        " some minutes for a new one.",
    )
    runs: int = Field(
        default=4,
        ge=1,
        validation_alias="CLIPFLOW_WARM_RUNS",
        description="The number of runs at the same time on one warm machine.",
    )
    drain_seconds: float = Field(
        default=80.0,
        ge=0,
        le=100,
        validation_alias="CLIPFLOW_WARM_DRAIN_SECONDS",
        description="How long a warm machine that is stopped lets its runs continue, before it"
        " returns them to the pool. ECS ends it after 120 seconds.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"the least, {self.least}, is more than the most, {self.most}")
        return self

    @property
    def least(self) -> int:
        return int(self.machines.partition("-")[0])

    @property
    def most(self) -> int:
        """The most machines; 0 if there is no warm pool."""
        return int(self.machines.partition("-")[2])

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The settings of this environment. Raises pydantic's ValidationError."""
        fields = cls.model_fields.values()
        names = [str(field.validation_alias) for field in fields]
        given = {name: environment[name] for name in names if environment.get(name)}
        return cls.model_validate(given)


def routed(prefect_yaml: str, settings: WarmSettings) -> str:
    """The content of prefect.yaml with the deployments of `FLOWS` in the warm pool, if there is
    one."""
    if not settings.most:
        return prefect_yaml
    read: dict[str, Any] = yaml.safe_load(prefect_yaml)
    for deployment in read["deployments"]:
        if flow_of(deployment) in FLOWS:
            deployment["work_pool"] = {**deployment["work_pool"], "name": POOL}
    return yaml.safe_dump(read, sort_keys=False)


def flow_of(deployment: Mapping[str, Any]) -> str:
    """The flow of a deployment in prefect.yaml."""
    return flow_of_entrypoint(deployment["entrypoint"])


def job_template(default: dict[str, Any]) -> dict[str, Any]:
    """The base job template of the warm pool; `default` is that of Prefect's process worker."""
    properties = default["variables"]["properties"]
    command = {**properties["command"], "default": COMMAND}
    variables = {**default["variables"], "properties": {**properties, "command": command}}
    return {**default, "variables": variables}


def reserved_vcpu(machines: int, on_demand: int, cpu: int) -> tuple[float, float]:
    """The vCPU on demand and on Spot that so many machines use, of which at least `on_demand` are
    on demand; `cpu` is the CPU units of one."""
    paid = min(machines, on_demand) + ceil(max(0, machines - on_demand) / 4)
    return paid * cpu / 1024, (machines - paid) * cpu / 1024


def idle_machines(online: int, runs: int, at_once: int) -> int:
    """The number of machines that could stop, if each of the others has `at_once` runs."""
    return max(0, online - ceil(runs / at_once))
