"""Deploys `infra/data.yaml`, under the names of the local stack."""

from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from deployments.local_stack import settings
from deployments.local_stack.errors import StackError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import ParameterTypeDef

TEMPLATE = Path(__file__).parents[2] / "infra" / "data.yaml"
PARAMETERS: "list[ParameterTypeDef]" = [
    {"ParameterKey": "BucketName", "ParameterValue": settings.BUCKET},
    {"ParameterKey": "TableName", "ParameterValue": settings.TABLE},
    {"ParameterKey": "QueueName", "ParameterValue": settings.QUEUE},
    {"ParameterKey": "DeadLetterQueueName", "ParameterValue": settings.DEAD_LETTER_QUEUE},
]


def deploy(endpoint_url: str, template: Path = TEMPLATE) -> dict[str, str]:
    """Creates the stack or brings it up to date; answers its outputs.

    Raises StackError, with CloudFormation's reasons, where it refuses or rolls back.
    """
    client = boto3.client(
        "cloudformation",
        endpoint_url=endpoint_url,
        config=Config(connect_timeout=2, read_timeout=30, retries={"total_max_attempts": 2}),
    )
    try:
        _bring_up_to_date(client, template.read_text())
    except (ClientError, WaiterError) as error:
        raise StackError(f"{template} was not deployed: {_reasons(client) or error}") from error
    (stack,) = client.describe_stacks(StackName=settings.STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def _bring_up_to_date(client: "CloudFormationClient", body: str) -> None:
    asked = {"StackName": settings.STACK, "TemplateBody": body, "Parameters": PARAMETERS}
    status = _status(client)
    if status == "ROLLBACK_COMPLETE":  # never came up: it can be neither updated nor created
        client.delete_stack(StackName=settings.STACK)
        _wait(client, "stack_delete_complete")
    if status in ("", "ROLLBACK_COMPLETE"):
        client.create_stack(**asked)  # type: ignore[arg-type]
        _wait(client, "stack_create_complete")
        return
    try:
        client.update_stack(**asked)  # type: ignore[arg-type]
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise
    else:
        _wait(client, "stack_update_complete")


def _status(client: "CloudFormationClient") -> str:
    """Of the stack; empty where there is none."""
    try:
        (stack,) = client.describe_stacks(StackName=settings.STACK)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return ""
        raise
    return stack["StackStatus"]


def _wait(client: "CloudFormationClient", state: str) -> None:
    waiter = client.get_waiter(state)  # type: ignore[call-overload]
    waiter.wait(StackName=settings.STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def _reasons(client: "CloudFormationClient") -> str:
    """What CloudFormation said of the resources it could not make."""
    try:
        events = client.describe_stack_events(StackName=settings.STACK)["StackEvents"]
    except ClientError:
        return ""
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    return "; ".join(
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}" for event in failed
    )
