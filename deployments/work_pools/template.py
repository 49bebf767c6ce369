"""A pool's base job template: prefect-aws's own, with what is ours put into it. Pure."""

from typing import Any

from deployments.work_pools.environment import PoolSettings
from deployments.work_pools.pools import WorkPool

# What every flow run of ours has, wherever it runs.
_FLOWS = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # What the craft says in a task shows in the UI with what the task says.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "clipflow",
    # JSON lines; what is said outside of a run is for them alone.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": "tasks.telemetry.Console",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}


def base_job_template(
    pool: WorkPool, settings: PoolSettings, default: dict[str, Any], flows: dict[str, str]
) -> dict[str, Any]:
    """`default` with the pool's sizes, the account's names, and the flows' environment."""
    properties = default["variables"]["properties"]
    ours = _variables(pool, settings, flows)
    job = default["job_configuration"]
    return {
        **default,
        "variables": {
            **default["variables"],
            "properties": {
                name: {**told, "default": ours[name]} if ours.get(name) else told
                for name, told in properties.items()
            },
        },
        "job_configuration": {
            **job,
            "task_definition": _task_definition(pool, settings, job["task_definition"]),
        },
    }


def _variables(pool: WorkPool, settings: PoolSettings, flows: dict[str, str]) -> dict[str, Any]:
    """Defaults of the template's variables, each of which a deployment may still override."""
    return {
        "image": (pool.is_preparing and settings.prepare_image) or settings.image,
        "cluster": settings.cluster,
        "family": f"clipflow-{pool.kind}",
        # Else each flow run registers a revision of its own.
        "match_latest_revision_in_family": True,
        "launch_type": pool.launch_type,
        "capacity_provider_strategy": _provider(pool, settings),
        "cpu": pool.cpu,
        "memory": pool.memory,
        "task_role_arn": settings.task_role_arn,
        "execution_role_arn": settings.execution_role_arn,
        "vpc_id": settings.vpc_id,
        "network_configuration": settings.network,
        "configure_cloudwatch_logs": True,
        "cloudwatch_logs_options": {"awslogs-group": settings.log_group},
        "cloudwatch_logs_prefix": pool.kind,
        "prefect_api_auth_string_secret_arn": settings.auth_secret_arn,
        "prefect_api_key_secret_arn": settings.api_key_secret_arn,
        "labels": {"clipflow:pool": pool.kind},
        "env": {**_FLOWS, **flows, **pool.environment},
    }


def _provider(pool: WorkPool, settings: PoolSettings) -> list[dict[str, Any]]:
    if not pool.gpus:
        return []
    return [{"capacityProvider": settings.gpu_capacity_provider, "weight": 1, "base": 0}]


def _task_definition(
    pool: WorkPool, settings: PoolSettings, default: dict[str, Any]
) -> dict[str, Any]:
    """What no variable of prefect-aws's template reaches."""
    (container,) = default["containerDefinitions"]
    ours: dict[str, Any] = {**container, "stopTimeout": pool.stop_timeout}
    if pool.gpus:
        ours["resourceRequirements"] = [{"type": "GPU", "value": str(pool.gpus)}]
    if pool.is_preparing and settings.model_secrets:
        ours["secrets"] = settings.model_secrets
    # ECS gives it back unasked, and prefect-aws 0.7.12 would see another definition than it asked
    # for: each run would register a revision of its own.
    definition = {**default, "containerDefinitions": [ours], "enableFaultInjection": False}
    if pool.storage_gib:
        definition["ephemeralStorage"] = {"sizeInGiB": pool.storage_gib}
    if pool.launch_type == "EC2":
        definition["requiresCompatibilities"] = ["EC2"]
    return definition
