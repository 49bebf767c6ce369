"""CloudFormation stacks: create, execute or delete a change set; delete a stack."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError, WaiterError

from clipflow.domain.errors import TerminalError
from deployments.cloudformation.templates import Template, written_out

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import (
        ParameterTypeDef,
        StackEventTypeDef,
        WaiterConfigTypeDef,
    )

_UNCHANGED = ("didn't contain changes", "No updates are to be performed")
# A stack whose creation failed: it cannot be updated, only deleted, and has no resources.
_ROLLED_BACK = ("ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS")
# The statuses with which an operation that a user requested begins.
_REQUESTED = tuple(f"{kind}_IN_PROGRESS" for kind in ("CREATE", "UPDATE", "DELETE", "IMPORT"))
# Half an hour, since ECS services take minutes to become stable. The delay is in seconds.
_WAIT: "WaiterConfigTypeDef" = {"Delay": 1, "MaxAttempts": 1800}


class NotDeployedError(TerminalError):
    """CloudFormation refused a request or rolled it back."""


@dataclass(frozen=True)
class Change:
    """The change that a change set makes to one resource.

    Attributes:
        action: Add, Modify, Remove or Import.
        replaced: `True` if the resource is replaced by a new one and its content is lost;
            `Conditional` if CloudFormation does not know yet.
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
    """A change set that is created but not executed. It may have no changes."""

    stack: str
    id: str
    is_new: bool
    changes: tuple[Change, ...]


def additions(template: Template, arguments: Mapping[str, str]) -> tuple[Change, ...]:
    """The changes that creating the template's stack makes, as far as the template alone shows."""
    return tuple(Change("Add", name, kind) for name, kind in template.created(arguments).items())


class Stacks:
    """The CloudFormation stacks of an account.

    Every method raises NotDeployedError with CloudFormation's reasons.
    """

    def __init__(self, client: "CloudFormationClient") -> None:
        self._client = client

    def described(self, stack: str) -> dict[str, Any] | None:
        """The stack as CloudFormation describes it; None if there is none."""
        try:
            (found,) = self._client.describe_stacks(StackName=stack)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise NotDeployedError(f"{stack}: {_reason(error)}") from error
        return dict(found)

    def outputs(self, stack: str) -> dict[str, str]:
        """The outputs of the stack; empty if there is no stack."""
        found = self.described(stack) or {}
        return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}

    def prepare(self, template: Template, arguments: Mapping[str, str]) -> ChangeSet:
        """Create the change set that updates the stack to the template.

        Resources that an earlier stack retained are imported if `arguments` has their names.
        """
        found = self._usable(template.stack)
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
            raise NotDeployedError(f"{template.stack} was not changed: {_reason(error)}") from error
        change_set = ChangeSet(template.stack, made["Id"], is_new, ())
        if not self._has_changes(change_set):
            self.discard(change_set)
            return change_set
        return ChangeSet(template.stack, made["Id"], is_new, tuple(self._changes(made["Id"])))

    def execute(self, change_set: ChangeSet) -> None:
        """Execute the change set and wait. A stack that cannot be updated is rolled back."""
        if not change_set.changes:
            return
        kind = "stack_create_complete" if change_set.is_new else "stack_update_complete"
        try:
            # Without it, a stack whose creation fails would leave behind the resources that it
            # retains on deletion, under generated names.
            self._client.execute_change_set(
                ChangeSetName=change_set.id, RetainExceptOnCreate=change_set.is_new
            )
            self._wait(kind, change_set.stack)
        except (ClientError, WaiterError) as error:
            why = self._reasons(change_set.stack) or _reason(error)
            raise NotDeployedError(f"{change_set.stack} was not deployed: {why}") from error

    def discard(self, change_set: ChangeSet) -> None:
        """Delete the change set, and the empty stack that was created for it."""
        if change_set.is_new:
            self.delete(change_set.stack)
        else:
            self._client.delete_change_set(ChangeSetName=change_set.id)

    def delete(self, stack: str) -> None:
        """Delete the stack and wait. Resources that its template retains are kept."""
        try:
            self._client.delete_stack(StackName=stack)
            self._wait("stack_delete_complete", stack)
        except (ClientError, WaiterError) as error:
            why = self._reasons(stack) or _reason(error)
            raise NotDeployedError(f"{stack} was not deleted: {why}") from error

    def _usable(self, stack: str) -> dict[str, Any] | None:
        """The stack if it can be updated, else None. A stack whose creation failed is deleted."""
        found = self.described(stack)
        if found and found["StackStatus"] in _ROLLED_BACK:
            self.delete(stack)
            return None
        return found

    def _has_changes(self, change_set: ChangeSet) -> bool:
        """Waits for the change set; returns whether it has anything to execute."""
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
        for change in (
            page_change["ResourceChange"] for page in pages for page_change in page["Changes"]
        ):
            yield Change(
                change["Action"],
                change["LogicalResourceId"],
                change["ResourceType"],
                change.get("Replacement", ""),
            )

    def _wait(self, state: str, stack: str) -> None:
        self._client.get_waiter(state).wait(  # type: ignore[call-overload]
            StackName=stack, WaiterConfig=_WAIT
        )

    def _reasons(self, stack: str) -> str:
        """Why the last operation could not create or delete resources, from the stack's events."""
        try:
            events = self._client.describe_stack_events(StackName=stack)["StackEvents"]
        except ClientError:
            return ""
        latest = takewhile(lambda event: not _is_first(event), events)  # newest first
        failed = [event for event in latest if event["ResourceStatus"].endswith("FAILED")]
        return "; ".join(
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in failed
        )


def _parameters(
    template: Template, arguments: Mapping[str, str], found: Mapping[str, Any]
) -> "Iterator[ParameterTypeDef]":
    """The parameters to pass to CloudFormation; others keep their values or take their defaults.

    The name of a bucket that CloudFormation generated becomes an argument once it is in a setting.
    Passing it would replace the bucket by one of the same name, so it keeps the previous value.
    """
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    previous = {parameter["ParameterKey"] for parameter in found.get("Parameters", [])}
    for name in template.parameters:
        is_new_value = name in arguments and outputs.get(name) != arguments[name]
        if name in previous and not is_new_value:
            yield {"ParameterKey": name, "UsePreviousValue": True}
        elif name in arguments:
            yield {"ParameterKey": name, "ParameterValue": arguments[name]}


def _is_first(event: "StackEventTypeDef") -> bool:
    """Whether the event begins an operation; a rollback or a cleanup is a part of one."""
    is_stacks_own = event["LogicalResourceId"] == event["StackName"]
    return is_stacks_own and event["ResourceStatus"] in _REQUESTED


def _reason(error: Exception) -> str:
    return str(error).rpartition("operation: ")[2]
