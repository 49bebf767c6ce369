"""Evaluates the conditions of a template, and loads the YAML of its functions. Pure functions."""

from collections.abc import Mapping
from typing import Any

import yaml

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
