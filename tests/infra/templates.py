"""Functions that list, parse and deploy the templates of `infra/`."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import ClientError

from tests.programs import ROOT

FOLDER = ROOT / "infra"
# The templates in the order of their deployment. Each needs outputs of earlier ones.
ORDER = (
    "data",
    "cluster",
    "prefect-data",
    "roles",
    "prefect-server",
    "bridge",
    "metrics",
    "alarms",
    "warm",
)


def template_text(name: str) -> str:
    """The text of a template."""
    return (FOLDER / f"{name}.yaml").read_text()


def parse_nodes(text: str) -> yaml.Node:
    """The YAML nodes of a template, with tags and line numbers."""
    node = yaml.compose(text)
    assert node
    return node


def plain(node: yaml.Node) -> Any:
    """The value of `node`; `!Ref x` and the other short forms become `x`."""
    match node:
        case yaml.MappingNode():
            return {plain(key): plain(value) for key, value in node.value}
        case yaml.SequenceNode():
            return [plain(item) for item in node.value]
    return node.value


def resources(name: str, kind: str) -> dict[str, Any]:
    """The properties of the template's resources of one type, by logical id."""
    found = plain(parse_nodes(template_text(name)))["Resources"]
    return {key: value["Properties"] for key, value in found.items() if value["Type"] == kind}


def pairs(node: yaml.Node) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """Every key in `node` at any depth, with its value."""
    match node:
        case yaml.MappingNode():
            for key, value in node.value:
                yield key, value
                yield from pairs(value)
        case yaml.SequenceNode():
            for item in node.value:
                yield from pairs(item)


def scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Every scalar in `node` at any depth."""
    match node:
        case yaml.ScalarNode():
            yield node
        case yaml.MappingNode():
            for key, value in node.value:
                yield from scalars(key)
                yield from scalars(value)
        case yaml.SequenceNode():
            for item in node.value:
                yield from scalars(item)


@cache
def parameters(name: str) -> frozenset[str]:
    """The names of the parameters of a template."""
    return frozenset(plain(parse_nodes(template_text(name)))["Parameters"])


def deploy(
    client: Any, name: str, known: Mapping[str, str], prefix: str = "clipflow"
) -> tuple[str, dict[str, str]]:
    """Deploy the stack `{prefix}-{name}`, and return its status and its outputs.

    `client` is a boto3 client of CloudFormation. Values in `known` that are not parameters of the
    template are ignored. The status is empty if there was nothing to update.
    """
    stack = f"{prefix}-{name}"
    request = {
        "StackName": stack,
        "TemplateBody": template_text(name),
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": known[key]}
            for key in sorted(parameters(name) & known.keys())
        ],
        "Capabilities": ["CAPABILITY_IAM"],
    }
    try:
        waiter = client.get_waiter(_change(client, request))
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise
        return "", described(client, stack, "OutputKey")
    waiter.wait(StackName=stack, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
    status = client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
    return status, described(client, stack, "OutputKey")


def _change(client: Any, request: dict[str, Any]) -> str:
    """Start to create or update the stack, and return the name of the waiter for it."""
    try:
        client.describe_stacks(StackName=request["StackName"])
    except ClientError:
        client.create_stack(**request)
        return "stack_create_complete"
    client.update_stack(**request)
    return "stack_update_complete"


def described(client: Any, stack: str, by: str) -> dict[str, str]:
    """The outputs of the stack, by `OutputKey` or by `Description` (only those that have one)."""
    (found,) = client.describe_stacks(StackName=stack)["Stacks"]
    return {
        output[by]: output["OutputValue"] for output in found.get("Outputs", []) if output.get(by)
    }


def templates() -> list[Path]:
    """The files of all templates."""
    return sorted(FOLDER.glob("*.yaml"))
