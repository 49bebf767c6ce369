"""CloudFormation: a stack's change set, made, executed or thrown away; and its end."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError, WaiterError

from clipflow.domain.errors import TerminalError
from deployments.operate.templates import Template, written_out

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import (
        ParameterTypeDef,
        StackEventTypeDef,
        WaiterConfigTypeDef,
    )

_UNCHANGED = ("didn't contain changes", "No updates are to be performed")
# A stack that never came up: nothing can be made of it, and nothing is in it.
_STILLBORN = ("ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS")
_ASKED = tuple(f"{kind}_IN_PROGRESS" for kind in ("CREATE", "UPDATE", "DELETE", "IMPORT"))
# Seconds between two looks; ECS services take their minutes.
_WAIT: "WaiterConfigTypeDef" = {"Delay": 1, "MaxAttempts": 1800}


class NotDeployedError(TerminalError):
    """CloudFormation refuses, or rolled back."""


@dataclass(frozen=True)
class Change:
    """What would become of one resource.

    Attributes:
        action: Add, Modify, Remove or Import.
        replaced: `True` where it would be another one, its content gone; `Conditional` where that
            is not known yet.
    """

    action: str
    resource: str
    kind: str
    replaced: str = ""

    def __str__(self) -> str:
        note = {"True": "  REPLACED", "Conditional": "  replaced, maybe"}.get(self.replaced, "")
        return f"{self.action:6} {self.resource} ({self.kind}){note}"


@dataclass(frozen=True)
class ChangeSet:
    """Made, not executed. Without changes there is none to execute."""

    stack: str
    id: str
    is_new: bool
    changes: tuple[Change, ...]


def additions(template: Template) -> tuple[Change, ...]:
    """What a stack that is not there would be, as far as the template alone tells."""
    return tuple(Change("Add", name, kind) for name, kind in template.resources.items())


class Stacks:
    """The stacks of an account. Every method raises NotDeployedError with CloudFormation's
    reasons."""

    def __init__(self, client: "CloudFormationClient") -> None:
        self._client = client

    def described(self, stack: str) -> dict[str, Any] | None:
        """As CloudFormation describes it; None where there is none."""
        try:
            (found,) = self._client.describe_stacks(StackName=stack)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise NotDeployedError(f"{stack}: {_said(error)}") from error
        return dict(found)

    def outputs(self, stack: str) -> dict[str, str]:
        """Of the stack; empty where there is none."""
        found = self.described(stack) or {}
        return {told["OutputKey"]: told["OutputValue"] for told in found.get("Outputs", [])}

    def prepare(self, template: Template, arguments: Mapping[str, str]) -> ChangeSet:
        """The change set that makes the stack as the template has it.

        What outlived an earlier stack, under a name asked for, becomes the new stack's own.
        """
        found = self._without_stillborn(template.stack)
        is_new = found is None
        try:
            made = self._client.create_change_set(
                StackName=template.stack,
                ChangeSetName=f"clipflow-{uuid4().hex}",
                ChangeSetType="CREATE" if is_new else "UPDATE",
                TemplateBody=written_out(template, arguments) if is_new else template.body,
                Parameters=list(_parameters(template, arguments, found or {})),
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
                ImportExistingResources=is_new,
            )
        except ClientError as error:
            raise NotDeployedError(f"{template.stack} was not changed: {_said(error)}") from error
        change_set = ChangeSet(template.stack, made["Id"], is_new, ())
        if not self._came_up(change_set):
            self.discard(change_set)
            return change_set
        return ChangeSet(template.stack, made["Id"], is_new, tuple(self._changes(made["Id"])))

    def execute(self, change_set: ChangeSet) -> None:
        """Returns once the stack is as asked; where it is not, it is as it was."""
        if not change_set.changes:
            return
        kind = "stack_create_complete" if change_set.is_new else "stack_update_complete"
        try:
            # What a stack keeps when it goes would else outlive a stack that never came up, under
            # a name that nobody knows.
            self._client.execute_change_set(
                ChangeSetName=change_set.id, RetainExceptOnCreate=change_set.is_new
            )
            self._wait(kind, change_set.stack)
        except (ClientError, WaiterError) as error:
            why = self._reasons(change_set.stack) or _said(error)
            raise NotDeployedError(f"{change_set.stack} was not deployed: {why}") from error

    def discard(self, change_set: ChangeSet) -> None:
        """As if it had never been made."""
        if change_set.is_new:
            self.delete(change_set.stack)
        else:
            self._client.delete_change_set(ChangeSetName=change_set.id)

    def delete(self, stack: str) -> None:
        """Returns once it is gone; what its template retains is not."""
        try:
            self._client.delete_stack(StackName=stack)
            self._wait("stack_delete_complete", stack)
        except (ClientError, WaiterError) as error:
            why = self._reasons(stack) or _said(error)
            raise NotDeployedError(f"{stack} was not deleted: {why}") from error

    def _without_stillborn(self, stack: str) -> dict[str, Any] | None:
        found = self.described(stack)
        if found and found["StackStatus"] in _STILLBORN:
            self.delete(stack)
            return None
        return found

    def _came_up(self, change_set: ChangeSet) -> bool:
        """Whether there is anything to execute."""
        try:
            self._client.get_waiter("change_set_create_complete").wait(
                ChangeSetName=change_set.id, WaiterConfig=_WAIT
            )
        except WaiterError as error:
            why = self._client.describe_change_set(ChangeSetName=change_set.id)["StatusReason"]
            if any(text in why for text in _UNCHANGED):
                return False
            self.discard(change_set)
            raise NotDeployedError(f"{change_set.stack} was not changed: {why}") from error
        return True

    def _changes(self, id: str) -> Iterator[Change]:
        pages = self._client.get_paginator("describe_change_set").paginate(ChangeSetName=id)
        for told in (change["ResourceChange"] for page in pages for change in page["Changes"]):
            yield Change(
                told["Action"],
                told["LogicalResourceId"],
                told["ResourceType"],
                told.get("Replacement", ""),
            )

    def _wait(self, state: str, stack: str) -> None:
        self._client.get_waiter(state).wait(  # type: ignore[call-overload]
            StackName=stack, WaiterConfig=_WAIT
        )

    def _reasons(self, stack: str) -> str:
        """What CloudFormation said of the resources it could not make or remove this time."""
        try:
            events = self._client.describe_stack_events(StackName=stack)["StackEvents"]
        except ClientError:
            return ""
        lately = takewhile(lambda event: not _is_first(event), events)  # the newest comes first
        failed = [event for event in lately if event["ResourceStatus"].endswith("FAILED")]
        return "; ".join(
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in failed
        )


def _parameters(
    template: Template, arguments: Mapping[str, str], found: Mapping[str, Any]
) -> "Iterator[ParameterTypeDef]":
    """What is asked for; the rest stays as the stack has it, or takes its default.

    A bucket that the stack named itself comes back as an argument once its name is a setting. That
    is no wish to have it replaced by one of the same name.
    """
    outputs = {told["OutputKey"]: told["OutputValue"] for told in found.get("Outputs", [])}
    previous = {told["ParameterKey"] for told in found.get("Parameters", [])}
    for name in template.parameters:
        is_asked = name in arguments and outputs.get(name) != arguments[name]
        if name in previous and not is_asked:
            yield {"ParameterKey": name, "UsePreviousValue": True}
        elif name in arguments:
            yield {"ParameterKey": name, "ParameterValue": arguments[name]}


def _is_first(event: "StackEventTypeDef") -> bool:
    """Of a change that somebody asked for: a rollback, or a cleanup, is a part of one."""
    is_stacks_own = event["LogicalResourceId"] == event["StackName"]
    return is_stacks_own and event["ResourceStatus"] in _ASKED


def _said(error: Exception) -> str:
    return str(error).rpartition("operation: ")[2]
