"""`deploy` and `destroy`: an account and its Prefect, as this code says, or taken down."""

import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from clipflow.domain.errors import InvalidInputError, TerminalError
from clipflow.domain.model import describe_errors
from deployments.operate import templates
from deployments.operate.account import client
from deployments.operate.stacks import ChangeSet, Stacks, additions
from deployments.operate.templates import Template
from deployments.work_pools import PoolSettings, WorkPool, work_pools

# What stands, in a dry run, for what a stack has not made yet.
_LATER = "known-later"
# What no stack tells.
_REQUIRED = {"AWS_REGION", "PREFECT_API_URL", *templates.ACCOUNTS_OWN}
_SAID = re.compile(r"^[a-z-]+ +\S+: \S+, .* MiB$|Deployment '\S+' successfully created")
_BRIDGE = "bridge"
_CLUSTER = "CLIPFLOW_ECS_CLUSTER"
_GPU = "CLIPFLOW_GPU_CAPACITY_PROVIDER"


class Account:
    """What one `deploy` knows: the environment, and more with every stack.

    Attributes:
        environment: settings, those of the user before those that stacks' outputs tell.
        outputs: of the stacks so far, by name.
    """

    def __init__(self, environment: Mapping[str, str], console: Console) -> None:
        self.environment = {name: value for name, value in environment.items() if value}
        self.outputs: dict[str, str] = {}
        self.console = console

    @cached_property
    def stacks(self) -> Stacks:
        return Stacks(client("cloudformation", self.environment))

    def pools(self) -> list[WorkPool]:
        """Raises InvalidInputError for a size that there is not."""
        try:
            return work_pools(bool(self.environment.get(_GPU)), self.environment)
        except ValidationError as error:
            raise InvalidInputError(describe_errors(error)) from None

    def learn(self, template: Template) -> None:
        """What the stack says it made."""
        found = self.stacks.outputs(template.stack)
        self.outputs |= found
        for name, value in found.items():
            self.environment.setdefault(template.outputs.get(name, name), value)


def deploy(account: Account, dry_run: bool) -> None:
    """Stacks, work pools and deployments, workers. With `dry_run`, says what would change.

    Raises InvalidInputError for what is missing, before anything is changed; NotDeployedError,
    TerminalError.
    """
    every = templates.read()
    if lacking := missing(every, account.environment):
        raise InvalidInputError(
            f"Not set: {', '.join(lacking)}.", "docs/aws.md says what each is. Nothing was changed."
        )
    # A new trigger reads the events of an old bridge, but not the other way round.
    for template in every:
        if template.name != _BRIDGE:
            _deploy_stack(account, template, dry_run)
    _work_pools(account, dry_run)
    for template in every:
        if template.name == _BRIDGE:
            _deploy_stack(account, template, dry_run)
    for pool in account.pools():
        arguments = templates.worker_arguments(pool, account.environment)
        _bring(account, templates.worker_template(pool, account.environment), arguments, dry_run)
    account.console.print("Nothing was changed." if dry_run else "Deployed.")


def missing(every: Collection[Template], environment: Mapping[str, str]) -> list[str]:
    """The variables that somebody has to set."""
    told = {variable for template in every for variable in template.outputs.values()}
    pools = {
        str(field.validation_alias)
        for field in PoolSettings.model_fields.values()
        if field.is_required()
    }
    needed = (pools - told) | _REQUIRED | templates.missing(every, environment)
    return sorted(name for name in needed if not environment.get(name))


def destroy(account: Account, confirmed: bool) -> None:
    """Every stack, the last one first. What is kept, media and records above all, is said.

    Raises InvalidInputError, having said what would go, unless it is `confirmed`.
    """
    pools = [templates.worker_template(pool, account.environment) for pool in account.pools()]
    there = [t for t in [*templates.read(), *pools] if account.stacks.described(t.stack)]
    if not there:
        account.console.print("There is nothing to destroy.")
        return
    kept = [f"{t.stack}'s {name}" for t in there for name in sorted(t.kept)]
    account.console.print(f"Goes:  {', '.join(t.stack for t in reversed(there))}")
    account.console.print(f"Stays: {', '.join(kept) or 'nothing'}")
    if not confirmed:
        raise InvalidInputError("Nothing was destroyed.", "CONFIRM=yes does it.")
    for template in there:
        account.learn(template)
    started = [template for template in there if template in pools]
    _delete(account, started)
    if cluster := account.environment.get(_CLUSTER):
        # Nobody starts another any more, and what they need goes next.
        families = [f"clipflow-{pool.kind}" for pool in account.pools()]
        ended = end_flow_runs(client("ecs", account.environment), cluster, families)
        account.console.print(f"flow runs ended: {ended}")
    _delete(account, [template for template in there if template not in started])
    for name in ("BUCKET_NAME", "TABLE_NAME"):
        if name in account.environment:
            account.console.print(f"Kept: {name}={account.environment[name]}")


def _delete(account: Account, there: list[Template]) -> None:
    """The last one first."""
    for template in reversed(there):
        account.stacks.delete(template.stack)
        account.console.print(f"{template.stack}: deleted")


def _deploy_stack(account: Account, template: Template, dry_run: bool) -> None:
    arguments = templates.arguments(template, account.outputs, account.environment)
    _bring(account, template, arguments, dry_run)


def _bring(
    account: Account, template: Template, arguments: Mapping[str, str], dry_run: bool
) -> None:
    if dry_run and not _is_known(template, arguments):
        _say(account.console, ChangeSet(template.stack, "", True, additions(template)))
        return
    change_set = account.stacks.prepare(template, arguments)
    _say(account.console, change_set)
    if not dry_run:
        account.stacks.execute(change_set)
    elif change_set.changes:
        account.stacks.discard(change_set)
    account.learn(template)


def _is_known(template: Template, arguments: Mapping[str, str]) -> bool:
    """Whether CloudFormation can be asked: nothing that it has to be told is still to be made."""
    return all(
        parameter.default is not None or name in arguments
        for name, parameter in template.parameters.items()
    )


def _say(console: Console, change_set: ChangeSet) -> None:
    if not change_set.changes:
        console.print(f"{change_set.stack}: unchanged")
        return
    console.print(f"{change_set.stack}: {'new' if change_set.is_new else 'changed'}")
    for change in change_set.changes:
        console.print(f"  {change}", markup=False, highlight=False, soft_wrap=True)


def _work_pools(account: Account, dry_run: bool) -> None:
    """Raises TerminalError where they, or the deployments, were not made."""
    account.console.print("work pools and deployments")
    told: dict[str, Any] = {**os.environ, **account.environment}
    if dry_run:
        for template in templates.read():
            for variable in template.outputs.values():
                told.setdefault(variable, _LATER)
    command = [sys.executable, "-m", "deployments.work_pools", *(["--check"] if dry_run else [])]
    ended = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    for line in ended.stdout.splitlines():
        # Prefect says much more, in boxes.
        if pool_or_deployment := _SAID.search(line):
            account.console.print(f"  {pool_or_deployment[0]}")
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip()[-1500:]
        raise TerminalError(
            f"The work pools were not deployed: {said}", "Mend it, and deploy again."
        )


# The most that ECS lists, describes or waits for at once.
_AT_ONCE = 100


def end_flow_runs(ecs: Any, cluster: str, families: Collection[str]) -> int:
    """Ends every task of these families; returns how many, once they are over."""
    running = list(_running(ecs, cluster, families))
    for task in running:
        ecs.stop_task(cluster=cluster, task=task, reason="clipflow is taken down.")
    for start in range(0, len(running), _AT_ONCE):
        some = running[start : start + _AT_ONCE]
        ecs.get_waiter("tasks_stopped").wait(cluster=cluster, tasks=some)
    return len(running)


def _running(ecs: Any, cluster: str, families: Collection[str]) -> Iterator[str]:
    for family in families:
        pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, family=family)
        for page in pages:
            yield from page["taskArns"]
