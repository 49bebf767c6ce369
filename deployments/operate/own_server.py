"""A Prefect server of one's own on AWS: its address and auth string, migration, and teardown.

`CLIPFLOW_PREFECT_SERVER=own` selects it. `infra/prefect-data.yaml` and `infra/prefect-server.yaml`
create it.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import httpx
from botocore.exceptions import ClientError
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from pydantic import Field
from pydantic_settings import BaseSettings

from clipflow.domain.errors import InvalidInputError, TerminalError
from deployments.cloudformation import templates
from deployments.operate.account import DeployedResources, client

_URL, _AUTH = "PREFECT_API_URL", "PREFECT_API_AUTH_STRING"
_SECRET = "CLIPFLOW_PREFECT_AUTH_SECRET_ARN"
# Seconds for which the server's address may not answer after its stack is deployed.
_ANSWERS_WITHIN = 60.0
# An hour for a migration: it can build indexes of large tables.
_MIGRATED = {"Delay": 5, "MaxAttempts": 720}


class PrefectServerSettings(BaseSettings):
    """The Prefect server of `make deploy`. `own` needs the settings `CLIPFLOW_PREFECT_…` below."""

    server: Literal["", "own"] = Field(
        default="",
        validation_alias=templates.OWN_SERVER,
        description="`own` creates a Prefect server in the account. If empty, `PREFECT_API_URL`"
        " names one that exists.",
    )


def check(environment: Mapping[str, str]) -> None:
    """Raises InvalidInputError if CLIPFLOW_PREFECT_SERVER has another value than `own`."""
    given = environment.get(templates.OWN_SERVER, "")
    if given not in ("", "own"):
        raise InvalidInputError(
            f"{templates.OWN_SERVER} is {given}.", "Set it to own, or not at all."
        )


def auth_string(environment: Mapping[str, str]) -> str:
    """The auth string of the server's clients, from the environment or from its secret."""
    if given := environment.get(_AUTH):
        return given
    secrets = client("secretsmanager", environment)
    return str(secrets.get_secret_value(SecretId=environment[_SECRET])["SecretString"])


def connection(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables with which a client connects, from the outputs of the deployed stacks.

    Raises InvalidInputError if the server is not deployed.
    """
    resources = DeployedResources()
    found = {name: environment.get(name) or resources.name(name) for name in (_URL, _SECRET)}
    return {_URL: found[_URL], _AUTH: auth_string({**environment, **found})}


@contextmanager
def connected(environment: Mapping[str, str]) -> Iterator[None]:
    """Prefect's clients within the context use the server that `environment` names."""
    values = {
        PREFECT_API_URL: environment.get(_URL),
        PREFECT_API_AUTH_STRING: environment.get(_AUTH),
    }
    with temporary_settings({setting: value for setting, value in values.items() if value}):
        yield


def migrate(outputs: Mapping[str, str], environment: Mapping[str, str]) -> None:
    """Migrates the database with the image of `prefect-data`, in a task of ECS.

    `outputs` are those of the stacks `cluster` and `prefect-data`. Raises TerminalError if the task
    fails; the server then stays as it is.
    """
    ecs, cluster = client("ecs", environment), outputs["ClusterName"]
    network = {
        "subnets": outputs["Subnets"].split(","),
        "securityGroups": [outputs["PrefectServerGroup"]],
        "assignPublicIp": "DISABLED",
    }
    started = ecs.run_task(
        cluster=cluster,
        taskDefinition=outputs["PrefectMigrationArn"],
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )
    if not started["tasks"]:
        reasons = "; ".join(failure.get("reason", "") for failure in started["failures"])
        raise TerminalError(f"ECS does not start the migration: {reasons}", "Deploy again.")
    task = started["tasks"][0]["taskArn"]
    ecs.get_waiter("tasks_stopped").wait(cluster=cluster, tasks=[task], WaiterConfig=_MIGRATED)
    ended = ecs.describe_tasks(cluster=cluster, tasks=[task])["tasks"][0]
    if any(container.get("exitCode") != 0 for container in ended["containers"]):
        raise TerminalError(
            f"Prefect's database was not migrated: {ended.get('stoppedReason', '')}",
            f"Its log is in {outputs['PrefectLogGroup']}. Fix it and deploy again.",
        )


def wait_until_ready(outputs: Mapping[str, str], url: str) -> None:
    """Waits for the server. Raises TerminalError if its address does not lead there."""
    deadline = time.monotonic() + _ANSWERS_WITHIN
    while True:
        try:
            httpx.get(f"{url}/health", timeout=5).raise_for_status()
        except httpx.HTTPError as error:
            if time.monotonic() > deadline:
                raise TerminalError(
                    f"{url} does not answer: {error}.",
                    f"Create a CNAME record of its name for {outputs['PrefectBalancerName']}, check"
                    " that CLIPFLOW_PREFECT_CLIENTS has this machine's address, and deploy again.",
                ) from None
            time.sleep(2)
        else:
            return


def allow_deletion(outputs: Mapping[str, str], environment: Mapping[str, str]) -> None:
    """Turns off the deletion protection of the database."""
    client("rds", environment).modify_db_instance(
        DBInstanceIdentifier=outputs["PrefectDatabase"],
        DeletionProtection=False,
        ApplyImmediately=True,
    )


def snapshots(outputs: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
    """The names of the database's snapshots that outlive it, oldest first."""
    found = client("rds", environment).describe_db_snapshots(
        DBInstanceIdentifier=outputs["PrefectDatabase"], SnapshotType="manual"
    )["DBSnapshots"]
    ordered = sorted(found, key=lambda each: str(each.get("SnapshotCreateTime", "")))
    return [str(each["DBSnapshotIdentifier"]) for each in ordered]


def parts(resources: DeployedResources) -> Iterator[tuple[str, str]]:
    """The parts of the server and the state of each; nothing if it is not deployed."""
    outputs = resources.outputs
    if "CLIPFLOW_PREFECT_API_SERVICE" not in outputs:
        return
    for name in ("API", "SERVICES"):
        service = _service(outputs, outputs[f"CLIPFLOW_PREFECT_{name}_SERVICE"])
        yield name.lower(), f"{service['runningCount']} of {service['desiredCount']} running"
    try:
        (database,) = client("rds").describe_db_instances(
            DBInstanceIdentifier=outputs["CLIPFLOW_PREFECT_DATABASE"]
        )["DBInstances"]
    except ClientError as error:
        yield "database", str(error)
        return
    restorable = database.get("LatestRestorableTime", "not yet")
    yield "database", f"{database['DBInstanceStatus']}, can be restored until {restorable}"


def _service(outputs: Mapping[str, str], name: str) -> Any:
    answer = client("ecs").describe_services(
        cluster=outputs["CLIPFLOW_ECS_CLUSTER"], services=[name]
    )
    return answer["services"][0]
