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
        validation_alias="CLIPFLOW_TASK_ROLE_ARN", description="The task role of the flow runs."
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
