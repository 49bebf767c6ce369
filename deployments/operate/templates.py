"""The CloudFormation templates that make up clipflow's account, in the order they need. Pure."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Self

import yaml

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
