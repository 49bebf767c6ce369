"""moto's server with additions for `make deploy`: `python -m tests.infra.second_aws`.

moto 5.2 does not support these things, each of which is added here:

- A stack that a change set created has no outputs.
- The changes of a change set are only those of the template, without those of its parameters.
- A change set without changes is refused, instead of created as one that has failed.
- In a list, `AWS::NoValue` is an element, so a condition cannot omit a container.
- Alarms in a stack are ignored, so nothing can refer to them. Here they have an address, and do not
  exist otherwise.
"""

from typing import Any

from moto.cloudformation import models, parsing, responses
from moto.core.common_models import CloudFormationModel
from moto.server import main

_apply = models.ChangeSet.apply
_clean_json = parsing.clean_json


class Alarm(CloudFormationModel):
    """An alarm of a stack, which has an address but does not exist. moto finds this class among the
    subclasses of its own."""

    # moto expects a name with a dot, which `__main__` lacks.
    __module__ = "tests.infra.second_aws"

    def __init__(self, name: str) -> None:
        self.name = self.physical_resource_id = name

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::CloudWatch::Alarm"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    def get_cfn_attribute(self, _attribute: str) -> str:
        return f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{self.name}"

    @classmethod
    def create_from_cloudformation_json(cls, resource_name: str, *_: Any, **__: Any) -> "Alarm":
        return cls(resource_name)

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource: "Alarm", *_: Any, **__: Any
    ) -> "Alarm":
        return original_resource

    @classmethod
    def delete_from_cloudformation_json(cls, *_: Any, **__: Any) -> None:
        """Do nothing, because nothing was created."""

    def is_created(self) -> bool:
        return True


def as_given(parameters: dict[str, Any]) -> dict[str, str]:
    """Parameters as a client passes them; moto repeats previous ones as lists and numbers."""
    return {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in parameters.items()
    }


def changes(self: models.ChangeSet) -> list[models.Change]:
    """The changes of the template and of the parameters."""
    self.parameters = as_given(self.parameters)
    resources, template = self.stack.resource_map, self.template_dict
    by_action = resources.build_resource_diff(template, self.parameters)
    known = {**resources._resource_json_map, **template["Resources"]}
    return [
        models.Change(action, name, known[name]["Type"])
        for action, names in by_action.items()
        for name in names
    ]


def apply(self: models.ChangeSet) -> None:
    """Execute a change set, and give its stack the outputs of the template."""
    _apply(self)
    stack = self.stack
    stack.template = self.template
    stack.parameters = self.parameters
    stack.resource_map.input_parameters = as_given(stack.stack_parameters)
    stack._parse_template()
    stack.output_map = stack._create_output_map()


def accept(_response: responses.CloudFormationResponse, *_request: Any) -> None:
    """Accept a change set; moto's model then finds that there are no changes."""


def clean_json(resource_json: Any, resources_map: parsing.ResourceMap) -> Any:
    """The value of a template's expression; a list has no elements that a condition omits."""
    cleaned = _clean_json(resource_json, resources_map)
    return [each for each in cleaned if each is not None] if isinstance(cleaned, list) else cleaned


if __name__ == "__main__":
    models.ChangeSet.diff = changes  # type: ignore[method-assign]
    models.ChangeSet.apply = apply  # type: ignore[method-assign]
    responses.CloudFormationResponse._validate_different_update = accept  # type: ignore[assignment]
    parsing.clean_json = clean_json
    main()
