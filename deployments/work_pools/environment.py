"""The settings of the AWS account in which the work pools run, from the environment."""

import os
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from clipflow.jobs.fingerprints import MODEL_SERVERS
from clipflow.settings import Limits, Models, Settings
from clipflow.telemetry.tracing import PROPAGATED_SETTINGS

# Paths inside an image, which the image itself sets.
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
        validation_alias="CLIPFLOW_TASK_ROLE_ARN", description="What a flow run may do."
    )
    execution_role_arn: Required = Field(
        validation_alias="CLIPFLOW_EXECUTION_ROLE_ARN",
        description="What the start of a container may do.",
    )
    bucket_name: Required = Field(
        validation_alias="BUCKET_NAME", description="The S3 bucket of sources and clips."
    )
    table_name: Required = Field(
        validation_alias="TABLE_NAME", description="The DynamoDB table of the records."
    )
    log_group: Required = Field(
        default="clipflow",
        validation_alias="CLIPFLOW_LOG_GROUP",
        description="The log group of the flow runs.",
    )
    vpc_id: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_VPC_ID",
        description="With `CLIPFLOW_SUBNETS`, or neither: the machines are then in the default"
        " VPC.",
    )
    subnets: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_SUBNETS",
        description="Private subnets of the VPC, apart by commas.",
    )
    security_groups: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_SECURITY_GROUPS",
        description="Of the machines, apart by commas.",
    )
    gpu_capacity_provider: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_GPU_CAPACITY_PROVIDER",
        description="An EC2 capacity provider of instances with a GPU: with it, videos are"
        " prepared there.",
    )
    prepare_image: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_PREPARE_IMAGE",
        description="The image of the machines that prepare videos; unset, `CLIPFLOW_IMAGE`.",
    )
    auth_secret_arn: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_PREFECT_AUTH_SECRET_ARN",
        description="The secret with the auth string of a Prefect server of your own; without it"
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
        description="Which of that secret's keys there are, apart by commas.",
    )

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
