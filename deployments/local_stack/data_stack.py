"""Deploys `infra/data.yaml`, under the names of the local stack."""

from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deployments.local_stack import settings
from deployments.local_stack.errors import StackError
from deployments.operate.stacks import NotDeployedError, Stacks
from deployments.operate.templates import INFRA, Template

TEMPLATE = INFRA / "data.yaml"
NAMES = {
    "BucketName": settings.BUCKET,
    "TableName": settings.TABLE,
    "QueueName": settings.QUEUE,
    "DeadLetterQueueName": settings.DEAD_LETTER_QUEUE,
}


def deploy(endpoint_url: str, template: Path = TEMPLATE) -> dict[str, str]:
    """Creates the stack or brings it up to date; answers its outputs.

    Raises StackError, with CloudFormation's reasons, where it refuses or rolls back.
    """
    client = boto3.client(
        "cloudformation",
        endpoint_url=endpoint_url,
        config=Config(connect_timeout=2, read_timeout=30, retries={"total_max_attempts": 2}),
    )
    stacks = Stacks(client)
    data = Template.parse(TEMPLATE.stem, template.read_text())
    try:
        stacks.execute(stacks.prepare(data, NAMES))
        return stacks.outputs(data.stack)
    except (NotDeployedError, BotoCoreError, ClientError) as error:
        raise StackError(f"{template} was not deployed: {error}") from error
