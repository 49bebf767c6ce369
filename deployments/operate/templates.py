"""The CloudFormation templates that make up clipflow's account, in the order they need. Pure."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import yaml

from deployments.work_pools.pools import WorkPool

INFRA = Path(__file__).parents[2] / "infra"
STACKS = "clipflow"
# Settings without the prefix of all others.
_WITHOUT_PREFIX = {"BUCKET_NAME", "TABLE_NAME"}
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")

# As infra/ writes a name that may be left to CloudFormation.
_NAME = re.compile(r"!If \[\w+, !Ref (\w+), !Ref AWS::NoValue\]")


class _Loader(yaml.SafeLoader):
    """YAML whose intrinsic functions (`!Ref`, `!If`) are left out: only names are read."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


@dataclass(frozen=True)
class Parameter:
    """What a template is told. `variable` names it in the environment; without `default` it must
    be given."""

    variable: str
    default: str | None


@dataclass(frozen=True)
class Template:
    """One template.

    Attributes:
        name: what its file is called; its stack is `clipflow-{name}`.
        outputs: with the variable that names it in the environment.
        resources: with its type.
        kept: the resources that outlive the stack, whatever its parameters.
    """

    name: str
    body: str
    parameters: dict[str, Parameter]
    outputs: dict[str, str]
    resources: dict[str, str]
    kept: frozenset[str]

    @property
    def stack(self) -> str:
        return f"{STACKS}-{self.name}"

    @classmethod
    def parse(cls, name: str, body: str) -> Self:
        """Raises yaml.YAMLError where it is neither YAML nor JSON."""
        read: dict[str, Any] = yaml.load(body, _Loader)
        resources = read["Resources"]
        return cls(
            name,
            body,
            {key: _parameter(key, told) for key, told in read.get("Parameters", {}).items()},
            {key: variable(key, told) for key, told in read.get("Outputs", {}).items()},
            {key: told["Type"] for key, told in resources.items()},
            frozenset(
                key
                for key, told in resources.items()
                if str(told.get("DeletionPolicy", "")).startswith("Retain")
                and "Condition" not in told
            ),
        )


def variable(name: str, told: Mapping[str, Any]) -> str:
    """What a parameter or an output is called in the environment: as its description begins, where
    that is a variable; else by its name: `VpcId`, `CLIPFLOW_VPC_ID`."""
    described = _VARIABLE.match(str(told.get("Description", "")))
    if described:
        return described[0]
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
    return plain if plain in _WITHOUT_PREFIX else f"CLIPFLOW_{plain}"


def _parameter(name: str, told: Mapping[str, Any]) -> Parameter:
    return Parameter(variable(name, told), str(told["Default"]) if "Default" in told else None)


def read(folder: Path = INFRA) -> list[Template]:
    """Every template of `folder`, each behind those whose outputs it takes as parameters.

    Raises graphlib.CycleError where two need each other.
    """
    found = {path.stem: path.read_text() for path in sorted(folder.glob("*.yaml"))}
    return in_order(Template.parse(name, body) for name, body in found.items())


def in_order(templates: Iterable[Template]) -> list[Template]:
    """Each behind those whose outputs it takes as parameters, else by name."""
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
    """The template's parameters that are known: the environment goes before other stacks' outputs.

    What is not among them has its default, or is `missing`.
    """
    found = {
        name: environment.get(parameter.variable) or outputs.get(name)
        for name, parameter in template.parameters.items()
    }
    return {name: value for name, value in found.items() if value}


def written_out(template: Template, arguments: Mapping[str, str]) -> str:
    """The template with the names that are given as literals.

    CloudFormation takes over a bucket or table that is there already only where its name is one.
    """
    return _NAME.sub(
        lambda found: json.dumps(arguments[found[1]]) if found[1] in arguments else found[0],
        template.body,
    )


def missing(templates: Collection[Template], environment: Mapping[str, str]) -> set[str]:
    """The variables without which the templates cannot be deployed, whatever is there already."""
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


def worker_template(pool: WorkPool, environment: Mapping[str, str]) -> Template:
    """The stack of the pool's worker."""
    body = json.dumps(_patched(json.loads(_SOURCE.read_text()), environment))
    # prefect-aws 0.7.12 gives the secret a name that Prefect does not read.
    body = body.replace('"PREFECT_AUTH_STRING"', '"PREFECT_API_AUTH_STRING"')
    return Template.parse(f"worker-{pool.purpose}", body)


def worker_arguments(pool: WorkPool, environment: Mapping[str, str]) -> dict[str, str]:
    """Its worker_template's parameters, from settings."""
    told = {name: environment.get(setting) for name, setting in _SETTINGS.items()}
    given = {name: value for name, value in told.items() if value}
    return {**_SIZE, **given, "WorkPoolName": pool.name}


def _patched(body: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
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
