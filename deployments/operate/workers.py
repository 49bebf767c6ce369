"""The workers' stacks: prefect-aws's own template of an ECS service, one for each work pool. Pure.

Its command, `prefect-aws ecs-worker deploy-service`, deploys the same; but it makes no change set,
so nobody sees before what it does, and it gives its role no limits.
"""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deployments.operate.templates import Template
from deployments.work_pools.pools import WorkPool

# Found without importing prefect_aws, which takes seconds.
_FOUND = find_spec("prefect_aws")
_SOURCE = (
    Path(_FOUND.origin if _FOUND and _FOUND.origin else "").parent / "templates/ecs/service.json"
)
# A worker waits and calls: this is what its Python needs.
_SIZE = {"TaskCpu": "512", "TaskMemory": "1024"}
_SECRETS = ("PrefectApiKeySecretArn", "PrefectAuthStringSecretArn")
_READS_SECRET = "EcsTaskExecutionRoleDefaultPolicy"
_SCALING = "AWS::ApplicationAutoScaling::"
# Parameter: the setting that fills it, where it is set.
_SETTINGS = {
    "PrefectApiUrl": "PREFECT_API_URL",
    "PrefectApiKeySecretArn": "CLIPFLOW_PREFECT_API_KEY_SECRET_ARN",
    "PrefectAuthStringSecretArn": "CLIPFLOW_PREFECT_AUTH_SECRET_ARN",
    "DockerImage": "CLIPFLOW_IMAGE",
    "ExistingClusterIdentifier": "CLIPFLOW_ECS_CLUSTER",
    "ExistingVpcId": "CLIPFLOW_VPC_ID",
    "ExistingSubnetIds": "CLIPFLOW_SUBNETS",
    "ExistingLogGroupName": "CLIPFLOW_LOG_GROUP",
}
# What no stack of ours can tell.
ACCOUNTS_OWN = ("CLIPFLOW_IMAGE", "CLIPFLOW_SUBNETS", "CLIPFLOW_VPC_ID")
LIMITS = "CLIPFLOW_WORKER_LIMITS_ARN"


def purpose(pool: WorkPool) -> str:
    """`orchestrate`, `media`, `prepare` or `marks`: videos are prepared with a GPU or without."""
    return pool.name_from.removeprefix("CLIPFLOW_").removesuffix("_WORK_POOL").lower()


def template(pool: WorkPool, environment: Mapping[str, str]) -> Template:
    """The stack of the pool's worker."""
    body = json.dumps(_mended(json.loads(_SOURCE.read_text()), environment))
    # prefect-aws 0.7.12 gives the secret a name that Prefect does not read.
    body = body.replace('"PREFECT_AUTH_STRING"', '"PREFECT_API_AUTH_STRING"')
    return Template.parse(f"worker-{purpose(pool)}", body)


def arguments(pool: WorkPool, environment: Mapping[str, str]) -> dict[str, str]:
    """Its template's parameters, from settings."""
    told = {name: environment.get(setting) for name, setting in _SETTINGS.items()}
    given = {name: value for name, value in told.items() if value}
    return {**_SIZE, **given, "WorkPoolName": pool.name}


def _mended(body: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    # Both take a text apart inside a condition, which the local AWS cannot; the answers are known.
    by_arn = environment.get(_SETTINGS["ExistingClusterIdentifier"], "").startswith("arn:")
    body["Conditions"]["IsClusterArn"] = _is(by_arn)
    body["Conditions"]["HasWorkQueues"] = _is(False)
    # One serves a pool: more of them start no run sooner, they only hand over.
    dropped = [key for key, told in body["Resources"].items() if _SCALING in told["Type"]]
    if not any(environment.get(_SETTINGS[name]) for name in _SECRETS):
        # It would allow to read no secret, which IAM takes for no policy.
        dropped += [key for key in body["Resources"] if key.startswith(_READS_SECRET)]
    body["Resources"] = {key: it for key, it in body["Resources"].items() if key not in dropped}
    for name, resource in body["Resources"].items():
        match resource["Type"]:
            case "AWS::ECS::Service":
                resource["Properties"]["DesiredCount"] = 1
            # The worker's role, which may pass every role of the account to a container.
            case "AWS::IAM::Role" if name.startswith("EcsTaskRole") and environment.get(LIMITS):
                resource["Properties"]["PermissionsBoundary"] = environment[LIMITS]
    return body


def _is(answer: bool) -> dict[str, list[str]]:
    return {"Fn::Equals": [str(answer), str(True)]}
