"""The ECS work pools and the settings of their AWS account, from files and the environment."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.client.schemas.objects import WorkPool as PrefectWorkPool
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings

from clipflow.jobs.fingerprints import MODEL_SERVERS
from clipflow.settings import Limits, Models, Settings
from clipflow.telemetry.tracing import PROPAGATED_SETTINGS
from deployments.run_environment import run_environment

# Settings that are paths inside an image, which the image itself sets.
_OF_THE_IMAGE = {
    "CLIPFLOW_FFMPEG",
    "CLIPFLOW_SCRATCH",
    "CLIPFLOW_FACE_MODEL",
    "CLIPFLOW_MOUTH_MODEL",
}
Required = Annotated[str, Field(min_length=1)]


class PoolSettings(BaseSettings):
    """The names of the account's resources; each field is an environment variable."""

    image: Required = Field(
        validation_alias="CLIPFLOW_IMAGE", description="The image that the machines run."
    )
    cluster: Required = Field(
        validation_alias="CLIPFLOW_ECS_CLUSTER", description="The ECS cluster, by name or ARN."
    )
    task_role_arn: Required = Field(
        validation_alias="CLIPFLOW_TASK_ROLE_ARN", description="The task role of the flow runs."
    )
    media_role_arn: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_MEDIA_ROLE_ARN",
        description="The role of the runs that cut, render and transcribe; unset, that of all.",
    )
    prepare_role_arn: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_PREPARE_ROLE_ARN",
        description="The role of the runs that prepare videos; unset, that of all.",
    )
    marks_role_arn: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_MARKS_ROLE_ARN",
        description="The role of the runs that record failures of others; unset, that of all.",
    )
    execution_role_arn: Required = Field(
        validation_alias="CLIPFLOW_EXECUTION_ROLE_ARN",
        description="The role with which ECS starts the containers.",
    )
    bucket_name: Required = Field(
        validation_alias="BUCKET_NAME", description="The S3 bucket of sources and clips."
    )
    table_name: Required = Field(
        validation_alias="TABLE_NAME", description="The DynamoDB table of the records."
    )
    region: Required = Field(
        default="us-east-1",
        validation_alias="AWS_REGION",
        description="The region, as in the AWS SDK.",
    )
    log_group: Required = Field(
        default="clipflow",
        validation_alias="CLIPFLOW_LOG_GROUP",
        description="The log group of the flow runs.",
    )
    vpc_id: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_VPC_ID",
        description="The VPC of the machines. Set it together with `CLIPFLOW_SUBNETS`. If neither"
        " is set, the machines are in the default VPC.",
    )
    subnets: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_SUBNETS",
        description="Private subnets of the VPC, separated by commas.",
    )
    security_groups: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_SECURITY_GROUPS",
        description="The security groups of the machines, separated by commas.",
    )
    gpu_capacity_provider: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_GPU_CAPACITY_PROVIDER",
        description="An EC2 capacity provider of instances with a GPU. If set, videos are prepared"
        " on these instances.",
    )
    prepare_image: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_PREPARE_IMAGE",
        description="The image of the machines that prepare videos. If unset, `CLIPFLOW_IMAGE`.",
    )
    collector_image: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_COLLECTOR_IMAGE",
        description="The image of the AWS Distro for OpenTelemetry: with it, a collector beside"
        " each run and the bridge sends traces to X-Ray.",
    )
    auth_secret_arn: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_PREFECT_AUTH_SECRET_ARN",
        description="The secret with the auth string of a self-hosted Prefect server. Without it,"
        " the string is readable in every task definition.",
    )
    api_key_secret_arn: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_PREFECT_API_KEY_SECRET_ARN",
        description="The same for the API key of Prefect Cloud.",
    )
    model_keys_secret_arn: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_MODEL_KEYS_SECRET_ARN",
        description="The secret with the keys that preparing a video needs, as JSON:"
        ' `{"OPENAI_API_KEY": "…", "HF_TOKEN": "…"}`.',
    )
    model_keys: str = Field(
        default="OPENAI_API_KEY",
        validation_alias="CLIPFLOW_MODEL_KEYS",
        description="The names of the keys in that secret, separated by commas.",
    )

    def role_of(self, purpose: str) -> str:
        """The role of the runs of a work pool, by the pool's purpose."""
        roles = {
            "media": self.media_role_arn,
            "prepare": self.prepare_role_arn,
            "marks": self.marks_role_arn,
        }
        return roles.get(purpose) or self.task_role_arn

    @property
    def network(self) -> dict[str, object]:
        """The `awsvpcConfiguration` of ECS; empty for the default VPC."""
        if not self.subnets:
            return {}
        groups = _names(self.security_groups)
        return {
            "subnets": _names(self.subnets),
            "assignPublicIp": "DISABLED",
            **({"securityGroups": groups} if groups else {}),
        }

    @property
    def model_secrets(self) -> list[dict[str, str]]:
        """The `secrets` of an ECS container, one for each key of the secret."""
        arn = self.model_keys_secret_arn
        names = _names(self.model_keys) if arn else []
        return [{"name": name, "valueFrom": f"{arn}:{name}::"} for name in names]


def flows_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The settings of the flows that `environment` sets.

    Secrets are left out: they belong in the task definition's (`PoolSettings.model_secrets`).
    """
    names = [
        str(field.validation_alias)
        for settings in (Settings, Limits, Models)
        for field in settings.model_fields.values()
        if field.annotation != SecretStr | None
    ]
    passed = (
        name for name in [*names, *PROPAGATED_SETTINGS, *MODEL_SERVERS] if name not in _OF_THE_IMAGE
    )
    return {name: environment[name] for name in passed if environment.get(name)}


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


HERE = Path(__file__).parent
# CPU units: MiB of memory. Amazon ECS Developer Guide, task CPU and memory.
_FARGATE: dict[int, Collection[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}


def fargate_memory(cpu: int, least: int) -> int:
    """The smallest MiB of memory, at least `least`, that Fargate has with so many CPU units.

    Raises ValueError if there is none.
    """
    found = [memory for memory in _FARGATE.get(cpu, ()) if memory >= least]
    if not found:
        raise ValueError(f"Fargate has no machine of {cpu} CPU units, {least} MiB or more")
    return min(found)


class WorkPool(BaseModel):
    """An ECS work pool, as its file describes it.

    Attributes:
        kind: the name of its file.
        name: its name in prefect.yaml. `prepare` and `prepare-gpu` have the same name.
        cpu: the CPU units of a machine, 1024 to a core.
        memory: the MiB of memory of a machine.
        storage_gib: the GiB of ephemeral storage, 21 to 200; None for the default.
        stop_timeout: seconds between SIGTERM and SIGKILL.
        limit: the maximum number of concurrent flow runs; None keeps the limit set in Prefect.
        quota_limit: the limit of a pool that has none in Prefect: what the account's quotas allow.
        window_cpu: the CPU units of a machine that transcribes a window; None for those of `cpu`.
        environment: variables of its flow runs, in addition to those of all pools.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    name: str
    description: str
    launch_type: Literal["FARGATE", "FARGATE_SPOT", "EC2"]
    cpu: int
    memory: int
    storage_gib: int | None = Field(default=None, ge=21, le=200)
    gpus: int = 0
    stop_timeout: int = Field(ge=1, le=120)
    limit: int | None = Field(default=None, ge=1)
    quota_limit: int | None = Field(default=None, ge=1)
    window_cpu: int | None = None
    environment: dict[str, str] = {}

    @property
    def purpose(self) -> str:
        """What the pool is for: `orchestrate`, `media`, `prepare` or `marks`."""
        return self.name.removeprefix("clipflow-")

    @property
    def is_preparing(self) -> bool:
        """Whether it prepares videos, with a GPU or without; they may use another image."""
        return self.purpose == "prepare"

    @model_validator(mode="after")
    def _has_a_fargate_size(self) -> Self:
        if self.launch_type == "EC2":
            return self
        if self.memory not in _FARGATE.get(self.cpu, ()):
            raise ValueError(f"Fargate has no machine of {self.cpu} CPU units, {self.memory} MiB")
        if self.window_cpu:
            fargate_memory(self.window_cpu, self.memory)
        return self


def work_pools(gpu: bool, environment: Mapping[str, str] = os.environ) -> list[WorkPool]:
    """All pools. With `gpu`, videos are prepared on instances that have a GPU.

    The environment sets sizes: `CLIPFLOW_MEDIA_CPU`, `…_MEMORY`, `…_STORAGE_GIB`, `…_LIMIT`,
    `…_WINDOW_CPU`. Raises pydantic's ValidationError for a size that Fargate does not have.
    """
    left_out = "prepare" if gpu else "prepare-gpu"
    return [_read(file, environment) for file in _files() if file.stem != left_out]


def pool_filter(*names: str) -> WorkPoolFilter:
    """Finds the pools of these names in Prefect."""
    return WorkPoolFilter(name=WorkPoolFilterName(any_=list(names)))


def preserved_settings(found: Sequence[PrefectWorkPool]) -> dict[str, Any]:
    """The settings of an existing pool that an operator sets and a deployment keeps."""
    settings = ({"is_paused": p.is_paused, "concurrency_limit": p.concurrency_limit} for p in found)
    return next(settings, {})


def _files() -> Iterator[Path]:
    yield from sorted(HERE.glob("*.json"))


def _read(file: Path, environment: Mapping[str, str]) -> WorkPool:
    pool = WorkPool.model_validate_json(file.read_bytes())
    prefix = f"CLIPFLOW_{pool.purpose.upper()}"
    sizes: dict[str, Any] = {
        field: environment[f"{prefix}_{field.upper()}"]
        for field in ("cpu", "memory", "storage_gib", "limit", "quota_limit", "window_cpu")
        if environment.get(f"{prefix}_{field.upper()}")
    }
    return WorkPool.model_validate({**pool.model_dump(), **sizes})


# Where a collector in the same task listens for OTLP by HTTP.
COLLECTOR_URL = "http://127.0.0.1:4318"
# What a machine executes for its run, in place of Prefect's `flow-run execute`.
COMMAND = "python -m deployments.execute"
# On AWS, each part of a run that is worth a machine gets one.
REMOTE = {"CLIPFLOW_FAN_OUT": "remote"}


def base_job_template(
    pool: WorkPool, settings: PoolSettings, default: dict[str, Any], flows: dict[str, str]
) -> dict[str, Any]:
    """`default` with the pool's sizes, the account's names, and the flows' environment."""
    properties = default["variables"]["properties"]
    if pool.storage_gib:
        properties = {**properties, "storage_gib": {"type": "integer", "title": "Disk in GiB"}}
    ours = _variables(pool, settings, flows)
    job = default["job_configuration"]
    return {
        **default,
        "variables": {
            **default["variables"],
            "properties": {
                name: {**schema, "default": ours[name]} if ours.get(name) else schema
                for name, schema in properties.items()
            },
        },
        "job_configuration": {
            **job,
            "task_definition": _task_definition(pool, settings, job["task_definition"]),
        },
    }


def _variables(pool: WorkPool, settings: PoolSettings, flows: dict[str, str]) -> dict[str, Any]:
    """Defaults of the template's variables, each of which a deployment may still override."""
    own = {**_traces(settings), **flows, **pool.environment}
    return {
        # An image of its own is often older than the code that is deployed.
        "command": None if pool.is_preparing and settings.prepare_image else COMMAND,
        "image": (pool.is_preparing and settings.prepare_image) or settings.image,
        "cluster": settings.cluster,
        "family": f"clipflow-{pool.kind}",
        # Without this, each flow run registers a revision of its own.
        "match_latest_revision_in_family": True,
        "launch_type": pool.launch_type,
        "capacity_provider_strategy": _provider(pool, settings),
        "cpu": pool.cpu,
        "memory": pool.memory,
        "storage_gib": pool.storage_gib,
        "task_role_arn": settings.role_of(pool.purpose),
        "execution_role_arn": settings.execution_role_arn,
        "vpc_id": settings.vpc_id,
        "network_configuration": settings.network,
        "configure_cloudwatch_logs": True,
        "cloudwatch_logs_options": {"awslogs-group": settings.log_group},
        "cloudwatch_logs_prefix": pool.kind,
        "prefect_api_auth_string_secret_arn": settings.auth_secret_arn,
        "prefect_api_key_secret_arn": settings.api_key_secret_arn,
        "labels": {"clipflow:pool": pool.kind},
        "env": {**run_environment(own), **REMOTE, **own},
    }


def _traces(settings: PoolSettings) -> dict[str, str]:
    """Where a run sends its spans: to the collector beside it."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR_URL} if settings.collector_image else {}


def _collector(pool: WorkPool, settings: PoolSettings) -> dict[str, Any]:
    """A container that sends the spans of its task to X-Ray, by its image's own configuration.

    It is stopped after the run's container, and then sends what it still has.
    """
    return {
        "name": "collector",
        "image": settings.collector_image,
        "essential": False,
        "command": ["--config=/etc/ecs/ecs-default-config.yaml"],
        "stopTimeout": 30,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": settings.log_group,
                "awslogs-region": settings.region,
                "awslogs-stream-prefix": pool.kind,
            },
        },
    }


def _provider(pool: WorkPool, settings: PoolSettings) -> list[dict[str, Any]]:
    if not pool.gpus:
        return []
    return [{"capacityProvider": settings.gpu_capacity_provider, "weight": 1, "base": 0}]


def _task_definition(
    pool: WorkPool, settings: PoolSettings, default: dict[str, Any]
) -> dict[str, Any]:
    """The task definition with values for which prefect-aws's template has no variable."""
    (container,) = default["containerDefinitions"]
    ours: dict[str, Any] = {**container, "stopTimeout": pool.stop_timeout}
    if pool.gpus:
        ours["resourceRequirements"] = [{"type": "GPU", "value": str(pool.gpus)}]
    if pool.is_preparing and settings.model_secrets:
        ours["secrets"] = settings.model_secrets
    # ECS returns this field even where it was not given. prefect-aws 0.7.12 would see a difference,
    # and each run would register a revision of its own.
    containers = [ours, _collector(pool, settings)] if settings.collector_image else [ours]
    definition = {**default, "containerDefinitions": containers, "enableFaultInjection": False}
    if pool.storage_gib:
        definition["ephemeralStorage"] = {"sizeInGiB": "{{ storage_gib }}"}
    if pool.launch_type == "EC2":
        definition["requiresCompatibilities"] = ["EC2"]
    return definition
