"""The CloudFormation templates of clipflow as values, in the order in which they are deployed.

The short forms of functions are read as their long forms, and conditions are evaluated here.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import yaml

from deployments.work_pools.capacity import WorkerSettings
from deployments.work_pools.pools import WorkPool
from deployments.work_pools.warm import WarmSettings

INFRA = Path(__file__).parents[2] / "infra"
STACKS = "clipflow"
# The stacks of a Prefect server of one's own; the second one uses what the first one creates.
PREFECT_DATA, PREFECT_SERVER = "prefect-data", "prefect-server"
# The stack of the warm machines.
WARM = "warm"
OWN_SERVER = "CLIPFLOW_PREFECT_SERVER"
# Settings without the prefix of all others.
_WITHOUT_PREFIX = {"BUCKET_NAME", "TABLE_NAME"}
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")

# How the templates in infra/ write a name that CloudFormation may generate.
_NAME = re.compile(r"!If \[\w+, !Ref (\w+), !Ref AWS::NoValue\]")


@dataclass(frozen=True)
class Parameter:
    """A template's parameter.

    `variable` is its name in the environment; without `default` it is required.
    """

    variable: str
    default: str | None


@dataclass(frozen=True)
class Template:
    """One template.

    Attributes:
        name: of its file; its stack is `clipflow-{name}`.
        outputs: by name, the environment variable of each.
        resources: by name, the type of each.
        optional: the outputs that only exist if a condition holds.
        conditions: by name, each condition's expression.
        conditional: by name of a resource, the name of the condition that creates it.
        kept: the resources that outlive the stack, whatever its parameters.
        snapshots: the resources of which a snapshot outlives the stack.
    """

    name: str
    body: str
    parameters: dict[str, Parameter]
    outputs: dict[str, str]
    resources: dict[str, str]
    optional: frozenset[str]
    conditions: dict[str, Any]
    conditional: dict[str, str]
    kept: frozenset[str]
    snapshots: frozenset[str]

    @property
    def stack(self) -> str:
        return f"{STACKS}-{self.name}"

    @classmethod
    def parse(cls, name: str, body: str) -> Self:
        """Reads a template in YAML or JSON. Raises yaml.YAMLError if it is neither."""
        read: dict[str, Any] = yaml.load(body, TemplateLoader)
        resources = read["Resources"]
        return cls(
            name,
            body,
            {key: _parameter(key, entry) for key, entry in read.get("Parameters", {}).items()},
            {key: variable(key, entry) for key, entry in read.get("Outputs", {}).items()},
            {key: resource["Type"] for key, resource in resources.items()},
            frozenset(key for key, it in read.get("Outputs", {}).items() if "Condition" in it),
            read.get("Conditions", {}),
            {key: it["Condition"] for key, it in resources.items() if "Condition" in it},
            frozenset(
                key
                for key, resource in resources.items()
                if str(resource.get("DeletionPolicy", "")).startswith("Retain")
                and "Condition" not in resource
            ),
            frozenset(
                key for key, it in resources.items() if it.get("DeletionPolicy") == "Snapshot"
            ),
        )

    def created(self, arguments: Mapping[str, str]) -> dict[str, str]:
        """The resources that a new stack has with these arguments: by name, the type of each."""
        defaults = {name: it.default for name, it in self.parameters.items()}
        values = {name: value for name, value in defaults.items() if value is not None}
        values |= arguments
        return {
            name: kind
            for name, kind in self.resources.items()
            if name not in self.conditional
            or holds({"Condition": self.conditional[name]}, self.conditions, values)
        }


def variable(name: str, entry: Mapping[str, Any]) -> str:
    """The environment variable of a parameter or an output.

    It is the variable with which its description begins, if there is one; otherwise it follows from
    the name: `CLIPFLOW_VPC_ID` for `VpcId`.
    """
    described = _VARIABLE.match(str(entry.get("Description", "")))
    if described:
        return described[0]
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
    return plain if plain in _WITHOUT_PREFIX else f"CLIPFLOW_{plain}"


def _parameter(name: str, entry: Mapping[str, Any]) -> Parameter:
    default = str(entry["Default"]) if "Default" in entry else None
    return Parameter(variable(name, entry), default)


def read(folder: Path = INFRA) -> list[Template]:
    """Every template of `folder`, each after those whose outputs are its parameters.

    Raises graphlib.CycleError if two depend on each other.
    """
    found = {path.stem: path.read_text() for path in sorted(folder.glob("*.yaml"))}
    return in_order(Template.parse(name, body) for name, body in found.items())


def chosen(environment: Mapping[str, str]) -> list[Template]:
    """The templates that `make deploy` deploys with these settings, in order.

    Those of a Prefect server are among them if CLIPFLOW_PREFECT_SERVER is `own`, and the warm
    machines if CLIPFLOW_WARM_MACHINES allows any. Raises pydantic's ValidationError for a value
    that is not valid.
    """
    left_out = set[str]()
    if environment.get(OWN_SERVER) != "own":
        left_out |= {PREFECT_DATA, PREFECT_SERVER}
    if not WarmSettings.read(environment).most:
        left_out.add(WARM)
    return [template for template in read() if template.name not in left_out]


def in_order(templates: Iterable[Template]) -> list[Template]:
    """The templates, each after those whose outputs are its parameters, else by name."""
    named = {template.name: template for template in templates}
    needs = {
        name: sorted(
            other.name
            for other in named.values()
            if other is not template and template.parameters.keys() & other.outputs.keys()
        )
        for name, template in sorted(named.items())
    }
    return [named[name] for name in TopologicalSorter(needs).static_order()]


def arguments(
    template: Template, outputs: Mapping[str, str], environment: Mapping[str, str]
) -> dict[str, str]:
    """The template's parameters from the environment, else from the outputs of other stacks.

    A parameter that is in neither has a default or is reported by `missing`.
    """
    found = {
        name: environment.get(parameter.variable) or outputs.get(name)
        for name, parameter in template.parameters.items()
    }
    return {name: value for name, value in found.items() if value}


def written_out(template: Template, arguments: Mapping[str, str]) -> str:
    """The body of the template with the names in `arguments` as literals.

    CloudFormation imports an existing bucket or table only if its name is a literal.
    """
    return _NAME.sub(
        lambda found: json.dumps(arguments[found[1]]) if found[1] in arguments else found[0],
        template.body,
    )


def missing(templates: Collection[Template], environment: Mapping[str, str]) -> set[str]:
    """The required variables that are not set and that no other template outputs."""
    return {
        parameter.variable
        for template in templates
        for name, parameter in template.parameters.items()
        if parameter.default is None
        and not environment.get(parameter.variable)
        and not any(name in other.outputs for other in templates if other is not template)
    }


# Found without importing prefect_aws, which takes seconds.
_FOUND = find_spec("prefect_aws")
_SOURCE = (
    Path(_FOUND.origin if _FOUND and _FOUND.origin else "").parent / "templates/ecs/service.json"
)
# The size of a worker's task. A worker only polls and calls APIs, so a small one suffices.
WORKER_SIZE = {"TaskCpu": "512", "TaskMemory": "1024"}
_SECRETS = ("PrefectApiKeySecretArn", "PrefectAuthStringSecretArn")
_READS_SECRET = "EcsTaskExecutionRoleDefaultPolicy"
_SCALING = "AWS::ApplicationAutoScaling::"
# The setting that gives the value of each parameter, if the setting is set.
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
# The pool whose worker handles the events of the tasks of all pools. Each of four observers would
# send the same seven requests to Prefect's server for each task.
OBSERVING = "marks"
_WORKER_SETTINGS = [str(it.validation_alias) for it in WorkerSettings.model_fields.values()]
# Settings that the user has to give, because no stack of clipflow outputs them.
ACCOUNT_SETTINGS = ("CLIPFLOW_IMAGE", "CLIPFLOW_SUBNETS", "CLIPFLOW_VPC_ID")
LIMITS = "CLIPFLOW_WORKER_LIMITS_ARN"


def worker_template(pool: WorkPool, environment: Mapping[str, str]) -> Template:
    """The template of the stack of the pool's worker."""
    patched = _patched(json.loads(_SOURCE.read_text()), environment)
    body = json.dumps(patched if pool.purpose == OBSERVING else _without_observer(patched))
    # prefect-aws 0.7.12 puts the secret in a variable that Prefect does not read.
    body = body.replace('"PREFECT_AUTH_STRING"', '"PREFECT_API_AUTH_STRING"')
    return Template.parse(f"worker-{pool.purpose}", body)


def worker_arguments(pool: WorkPool, environment: Mapping[str, str]) -> dict[str, str]:
    """The parameters of `worker_template`, from settings."""
    values = {name: environment.get(setting) for name, setting in _SETTINGS.items()}
    given = {name: value for name, value in values.items() if value}
    return {**WORKER_SIZE, **given, "WorkPoolName": pool.name}


def _patched(body: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    # Both split a string inside a condition, which the local AWS does not support; the results are
    # known here.
    by_arn = environment.get(_SETTINGS["ExistingClusterIdentifier"], "").startswith("arn:")
    body["Conditions"]["IsClusterArn"] = _is(by_arn)
    body["Conditions"]["HasWorkQueues"] = _is(False)
    # One worker per pool is enough; more workers would not start runs sooner.
    dropped = [key for key, resource in body["Resources"].items() if _SCALING in resource["Type"]]
    if not any(environment.get(_SETTINGS[name]) for name in _SECRETS):
        # The policy would list no secret, and IAM refuses a policy without resources.
        dropped += [key for key in body["Resources"] if key.startswith(_READS_SECRET)]
    body["Resources"] = {key: it for key, it in body["Resources"].items() if key not in dropped}
    for name, resource in body["Resources"].items():
        properties = resource["Properties"]
        match resource["Type"]:
            case "AWS::ECS::Service":
                properties["DesiredCount"] = 1
            # The worker's role may pass every role of the account to a container, unless bounded.
            case "AWS::IAM::Role" if name.startswith("EcsTaskRole") and environment.get(LIMITS):
                properties["PermissionsBoundary"] = environment[LIMITS]
            case "AWS::ECS::TaskDefinition":
                (container,) = properties["ContainerDefinitions"]
                _patch_worker(container, environment)
            case "AWS::EC2::SecurityGroup":
                # It admits the whole internet to the port of the health check.
                properties.pop("SecurityGroupIngress", None)
            case "AWS::SQS::QueuePolicy":
                # A second statement lets EventBridge send for any rule of any account.
                document = properties["PolicyDocument"]
                document["Statement"] = [it for it in document["Statement"] if "Condition" in it]
    return body


def _without_observer(body: dict[str, Any]) -> dict[str, Any]:
    """The worker's template without events of tasks. prefect-aws 0.7.12 has a setting for this, but
    does not read it. So its queue stays, and forgets events of an earlier release after a minute.
    """
    for resource in body["Resources"].values():
        properties = resource["Properties"]
        match resource["Type"]:
            case "AWS::Events::Rule":
                properties["State"] = "DISABLED"
            case "AWS::SQS::Queue" if "RedrivePolicy" in properties:
                properties["MessageRetentionPeriod"] = 60
    return body


def _patch_worker(container: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Start clipflow's own worker, which nothing but its own health check can connect to."""
    command = (
        "exec python -m deployments.work_pools.worker --pool ${WorkPoolName} --with-healthcheck"
    )
    container["Command"] = ["sh", "-c", {"Fn::Sub": command}]
    # The port is for the health check, which runs inside of the container.
    del container["PortMappings"]
    passed = {name: environment[name] for name in _WORKER_SETTINGS if environment.get(name)}
    container["Environment"] += [
        {"Name": name, "Value": value}
        for name, value in {"PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1", **passed}.items()
    ]


def _is(value: bool) -> dict[str, list[str]]:
    return {"Fn::Equals": [str(value), str(True)]}


# Expressions as JSON templates write them: {"Fn::Equals": [{"Ref": "Name"}, "value"]}.
Expression = Any


class TemplateLoader(yaml.SafeLoader):
    """A YAML loader that turns the short forms of functions, as `!Ref`, into their long forms."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    match node:
        case yaml.SequenceNode():
            return {name: loader.construct_sequence(node, deep=True)}
        case yaml.MappingNode():
            return {name: loader.construct_mapping(node, deep=True)}
        case yaml.ScalarNode():
            return {name: loader.construct_scalar(node)}
    raise TypeError(f"not a node: {node}")


TemplateLoader.add_multi_constructor("!", _function)


def holds(
    condition: Expression, conditions: Mapping[str, Expression], parameters: Mapping[str, str]
) -> bool:
    """Whether the condition holds with these parameters.

    A comparison with a function that only CloudFormation can evaluate does not hold.
    """
    match condition:
        case {"Condition": name}:
            return holds(conditions[name], conditions, parameters)
        case {"Fn::Equals": [one, other]}:
            values = _value(one, parameters), _value(other, parameters)
            return None not in values and values[0] == values[1]
        case {"Fn::Not": [inner]}:
            return not holds(inner, conditions, parameters)
        case {"Fn::And": inner}:
            return all(holds(each, conditions, parameters) for each in inner)
        case {"Fn::Or": inner}:
            return any(holds(each, conditions, parameters) for each in inner)
    raise ValueError(f"not a condition: {condition}")


def _value(value: Expression, parameters: Mapping[str, str]) -> str | None:
    match value:
        case {"Ref": name}:
            return parameters.get(name)
        case dict():
            return None
    return str(value)
