"""`deploy` and `destroy`: create, update or delete clipflow in an AWS account and Prefect."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from math import inf
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError
from rich.console import Console

from clipflow.domain.errors import InvalidInputError, TerminalError
from clipflow.domain.model import describe_errors
from clipflow.settings import limits, models
from deployments.cloudformation import templates
from deployments.cloudformation.stacks import ChangeSet, Stacks, additions
from deployments.cloudformation.templates import Template
from deployments.operate import own_server
from deployments.operate.account import client
from deployments.work_pools import PoolSettings, WorkPool, capacity, work_pools
from deployments.work_pools.pools import flows_environment
from deployments.work_pools.sizes import BEGIN_FAMILY, WINDOW_FAMILY, window_cost, window_cpu
from deployments.work_pools.warm import WarmSettings, reserved_vcpu

# The value that a dry run assumes for an output that a stack does not have yet.
_LATER = "known-later"
# The settings that no stack outputs.
_REQUIRED = {"AWS_REGION", "PREFECT_API_URL", *templates.ACCOUNT_SETTINGS}
_POOL_OR_DEPLOYMENT = re.compile(
    r"^[a-z-]+ +\S+: \S+, .* (?:MiB|machines)$|Deployment '\S+' successfully created"
)
# The stacks that use the work pools and deployments.
_AFTER_POOLS = (templates.WARM, "bridge")
# The parameter of the warm machines that no user sets.
_FLOW_SETTINGS = "CLIPFLOW_FLOW_SETTINGS"
_AUTH = "PREFECT_API_AUTH_STRING"
_ECS = "ecs.amazonaws.com"
_CLUSTER = "CLIPFLOW_ECS_CLUSTER"
_GPU = "CLIPFLOW_GPU_CAPACITY_PROVIDER"


class Account:
    """The settings of one `deploy`: the environment, and the outputs of each stack it deploys.

    Attributes:
        environment: settings; those of the user take precedence over outputs of stacks.
        outputs: of the stacks deployed so far, by name.
    """

    def __init__(self, environment: Mapping[str, str], console: Console) -> None:
        self.environment = {name: value for name, value in environment.items() if value}
        self.outputs: dict[str, str] = {}
        self.console = console

    @cached_property
    def stacks(self) -> Stacks:
        return Stacks(client("cloudformation", self.environment))

    def pools(self) -> list[WorkPool]:
        """The work pools. Raises InvalidInputError for a size that Fargate does not have."""
        try:
            return work_pools(bool(self.environment.get(_GPU)), self.environment)
        except ValidationError as error:
            raise InvalidInputError(describe_errors(error)) from None

    def templates(self) -> list[Template]:
        """The templates to deploy. Raises InvalidInputError if CLIPFLOW_PREFECT_SERVER or
        CLIPFLOW_WARM_MACHINES is not valid."""
        own_server.check(self.environment)
        try:
            return templates.chosen(self.environment)
        except ValidationError as error:
            raise InvalidInputError(describe_errors(error)) from None

    def read_outputs(self, template: Template) -> None:
        """Reads the outputs of the template's stack, and adds them to the environment."""
        found = self.stacks.outputs(template.stack)
        self.outputs |= found
        for name, value in found.items():
            self.environment.setdefault(template.outputs.get(name, name), value)


def deploy(account: Account, dry_run: bool) -> None:
    """Deploys stacks, work pools, deployments and workers; with `dry_run`, only prints the changes.

    Raises InvalidInputError for missing settings, before anything is changed; NotDeployedError and
    TerminalError if a stack or the work pools are not deployed.
    """
    every = account.templates()
    if lacking := missing(every, account.environment):
        raise InvalidInputError(
            f"Not set: {', '.join(lacking)}.",
            "docs/aws.md describes each of them. Nothing was changed.",
        )
    _service_linked_role(account, dry_run)
    # A new trigger can read the events of an old bridge, but not the other way round.
    _limit_pools(account)
    for template in every:
        if template.name not in _AFTER_POOLS:
            _deploy_stack(account, template, dry_run)
    _work_pools(account, dry_run)
    account.environment[_FLOW_SETTINGS] = json.dumps(flows_environment(account.environment))
    for template in every:
        if template.name in _AFTER_POOLS:
            _deploy_stack(account, template, dry_run)
    _delete_unused(account, every, dry_run)
    later = {**_later(every), **account.environment}
    for pool in account.pools():
        template = templates.worker_template(pool, account.environment)
        arguments = templates.worker_arguments(pool, account.environment)
        _deploy_template(
            account, template, arguments, dry_run, templates.worker_arguments(pool, later)
        )
    account.console.print("Nothing was changed." if dry_run else "Deployed.")


def _delete_unused(account: Account, every: Collection[Template], dry_run: bool) -> None:
    """Deletes the warm machines if there should be none. Runs that wait for one are not moved."""
    unused = [it for it in templates.read() if it.name == templates.WARM and it not in every]
    for template in unused:
        if account.stacks.described(template.stack):
            account.console.print(f"{template.stack}: deleted")
            if not dry_run:
                account.stacks.delete(template.stack)


def missing(every: Collection[Template], environment: Mapping[str, str]) -> list[str]:
    """The names of the variables that are required and not set."""
    outputs = {variable for template in every for variable in template.outputs.values()}
    pools = {
        str(field.validation_alias)
        for field in PoolSettings.model_fields.values()
        if field.is_required()
    }
    needed = (pools - outputs) | (_REQUIRED - outputs) | templates.missing(every, environment)
    return sorted(name for name in needed if not environment.get(name))


def destroy(account: Account, confirmed: bool) -> None:
    """Deletes every stack, the last one first, and prints the resources that are kept.

    Unless `confirmed`, only prints what would be deleted, and raises InvalidInputError.
    """
    pools = [templates.worker_template(pool, account.environment) for pool in account.pools()]
    there = [t for t in [*templates.read(), *pools] if account.stacks.described(t.stack)]
    if not there:
        account.console.print("There is nothing to destroy.")
        return
    kept = [f"{t.stack}'s {name}" for t in there for name in sorted(t.kept)]
    kept += [f"a snapshot of {t.stack}'s {name}" for t in there for name in sorted(t.snapshots)]
    account.console.print(f"Deleted: {', '.join(t.stack for t in reversed(there))}")
    account.console.print(f"Kept:    {', '.join(kept) or 'nothing'}")
    if not confirmed:
        raise InvalidInputError("Nothing was deleted.", "Set CONFIRM=yes to delete the stacks.")
    for template in there:
        account.read_outputs(template)
    started = [it for it in there if it in pools or it.name == templates.WARM]
    _delete(account, started)
    if cluster := account.environment.get(_CLUSTER):
        # The workers are gone, so no run starts, and the stacks that runs need are deleted next.
        of_pools = (f"clipflow-{pool.kind}" for pool in account.pools())
        families = [*of_pools, BEGIN_FAMILY, WINDOW_FAMILY]
        ended = end_flow_runs(client("ecs", account.environment), cluster, families)
        account.console.print(f"flow runs ended: {ended}")
    own = any(template.name == templates.PREFECT_DATA for template in there)
    _remove_automations(account, own)
    if own:
        own_server.allow_deletion(account.outputs, account.environment)
    _delete(account, [template for template in there if template not in started])
    if own:
        for name in own_server.snapshots(account.outputs, account.environment)[-1:]:
            account.console.print(f"Kept: CLIPFLOW_PREFECT_SNAPSHOT={name}")
    for name in ("BUCKET_NAME", "TABLE_NAME"):
        if name in account.environment:
            account.console.print(f"Kept: {name}={account.environment[name]}")


def _delete(account: Account, there: list[Template]) -> None:
    """Deletes the stacks, the last one first."""
    for template in reversed(there):
        account.stacks.delete(template.stack)
        account.console.print(f"{template.stack}: deleted")


def _remove_automations(account: Account, own: bool) -> None:
    """Delete clipflow's automations, which would act on runs that no worker starts any more.

    A Prefect server that does not answer must not prevent the deletion of the stacks.
    """
    if "PREFECT_API_URL" not in account.environment:
        return
    from deployments.automations import remove_automations

    try:
        if own:
            account.environment[_AUTH] = own_server.auth_string(account.environment)
        with own_server.connected(account.environment):
            removed = asyncio.run(remove_automations())
    except (httpx.HTTPError, ClientError, RuntimeError) as error:
        account.console.print(f"The automations were not deleted: {error}")
    else:
        account.console.print(f"automations deleted: {removed}")


def _deploy_stack(account: Account, template: Template, dry_run: bool) -> None:
    arguments = templates.arguments(template, account.outputs, account.environment)
    _deploy_template(account, template, arguments, dry_run)


def _deploy_template(
    account: Account,
    template: Template,
    arguments: Mapping[str, str],
    dry_run: bool,
    later: Mapping[str, str] | None = None,
) -> None:
    """Deploy the stack. `later` are the arguments that a dry run assumes for a new stack."""
    if dry_run and not _is_known(template, arguments):
        new = additions(template, later or arguments)
        _print_changes(account.console, ChangeSet(template.stack, "", True, new))
        return
    change_set = account.stacks.prepare(template, arguments)
    _print_changes(account.console, change_set)
    if not dry_run:
        if template.name == templates.PREFECT_SERVER and change_set.changes:
            # Before any container of the new image starts; those of the old one keep serving.
            own_server.migrate(account.outputs, account.environment)
            account.console.print("Prefect's database: migrated")
        account.stacks.execute(change_set)
    elif change_set.changes:
        account.stacks.discard(change_set)
    account.read_outputs(template)
    if template.name == templates.PREFECT_SERVER and not dry_run:
        account.environment[_AUTH] = own_server.auth_string(account.environment)
        own_server.wait_until_ready(account.outputs, account.environment["PREFECT_API_URL"])


def _is_known(template: Template, arguments: Mapping[str, str]) -> bool:
    """Whether a change set can be made: no required parameter is an output still to be created."""
    return all(
        parameter.default is not None or name in arguments
        for name, parameter in template.parameters.items()
    )


def _print_changes(console: Console, change_set: ChangeSet) -> None:
    if not change_set.changes:
        console.print(f"{change_set.stack}: unchanged")
        return
    console.print(f"{change_set.stack}: {'new' if change_set.is_new else 'changed'}")
    for change in change_set.changes:
        console.print(f"  {change}", markup=False, highlight=False, soft_wrap=True)


def _later(every: Collection[Template]) -> dict[str, str]:
    """A value for each output that a dry run does not know yet."""
    return {
        variable: _LATER
        for template in every
        for name, variable in template.outputs.items()
        if name not in template.optional
    }


def _service_linked_role(account: Account, dry_run: bool) -> None:
    """Create the role with which ECS manages network interfaces, if the account has none.

    The console creates it with the first cluster of an account, but CloudFormation does not.
    Without permission to read or create it, nothing is done, because most accounts have it.
    """
    iam = client("iam", account.environment)
    try:
        if iam.list_roles(PathPrefix=f"/aws-service-role/{_ECS}/")["Roles"]:
            return
        account.console.print("the service-linked role of ECS: new")
        if not dry_run:
            made = iam.create_service_linked_role(AWSServiceName=_ECS)["Role"]
            iam.get_waiter("role_exists").wait(RoleName=made["RoleName"])
    except ClientError as error:
        account.console.print(f"The service-linked role of ECS was not created: {error}")


def _limit_pools(account: Account) -> None:
    """Set the limits that the quotas of Fargate allow, for pools that have no limit yet, and the
    size of the machines that transcribe windows."""
    windows = limits().max_parallel_segments
    found = _fargate_quotas(account)
    if found is None:
        _size_windows(account, windows, 0)
        return
    on_demand, spot = found
    warm_on_demand, warm_spot = _warm_vcpu(account)
    left, spot_left = on_demand - warm_on_demand, spot - warm_spot
    _size_windows(account, windows, spot_left)
    allowed = capacity.limits(account.pools(), left, spot_left, windows)
    for purpose, runs in allowed.runs.items():
        account.environment[f"CLIPFLOW_{purpose.upper()}_QUOTA_LIMIT"] = str(runs)
    shown = ", ".join(f"{purpose} {runs}" for purpose, runs in sorted(allowed.runs.items()))
    account.console.print(f"runs at once by quotas of {on_demand:g} and {spot:g} vCPU: {shown}")
    for note in allowed.notes:
        account.console.print(note)


def _size_windows(account: Account, at_once: int, spot: float) -> None:
    """Set the size of the machines that transcribe windows, if no setting has it; `spot` is the
    vCPU of Spot's quota, 0 if it is unknown."""
    [media] = [pool for pool in account.pools() if pool.purpose == "media"]
    cost, model = window_cost(models()), models().whisper_model
    wanted, allowed = (window_cpu(media, cost, at_once, vcpu) for vcpu in (inf, spot))
    if wanted == media.cpu or media.window_cpu:
        return
    account.environment["CLIPFLOW_MEDIA_WINDOW_CPU"] = str(allowed)
    line = f"a window with {model}: {allowed / 1024:g} vCPU"
    if allowed < wanted:
        needed = 2 * at_once * wanted / 1024
        line += f"; {wanted / 1024:g} need a quota of {needed:g} vCPU of Spot beside warm machines"
    account.console.print(line)


def _warm_vcpu(account: Account) -> tuple[float, float]:
    """The vCPU on demand and on Spot of all warm machines."""
    [template] = [each for each in templates.read() if each.name == templates.WARM]
    base, cpu = (
        int(account.environment.get(given.variable) or given.default or 0)
        for given in (template.parameters["WarmOnDemand"], template.parameters["WarmCpu"])
    )
    return reserved_vcpu(WarmSettings.read(account.environment).most, base, cpu)


def _fargate_quotas(account: Account) -> tuple[float, float] | None:
    """The vCPU of Fargate on demand and on Spot, by settings or Service Quotas; None if unknown."""
    found = []
    for code, setting in capacity.SETTINGS.items():
        given = account.environment.get(setting)
        try:
            found.append(float(given) if given else _quota(account, code))
        except ValueError:
            raise InvalidInputError(f"{setting}: not a number of vCPU: {given}") from None
        except (ClientError, BotoCoreError) as error:
            account.console.print(f"The quotas of Fargate are unknown: {error}")
            return None
    on_demand, spot = found
    return on_demand, spot


def _quota(account: Account, code: str) -> float:
    service = client("service-quotas", account.environment)
    answer = service.get_service_quota(ServiceCode="fargate", QuotaCode=code)
    return float(answer["Quota"]["Value"])


def _work_pools(account: Account, dry_run: bool) -> None:
    """Deploys the work pools and deployments. Raises TerminalError if that fails."""
    account.console.print("work pools and deployments")
    environment: dict[str, Any] = {**os.environ, **account.environment}
    if dry_run:
        environment = {**_later(account.templates()), **environment}
    command = [sys.executable, "-m", "deployments.work_pools", *(["--check"] if dry_run else [])]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    for line in ended.stdout.splitlines():
        # Prefect prints much more, in boxes.
        if pool_or_deployment := _POOL_OR_DEPLOYMENT.search(line):
            account.console.print(f"  {pool_or_deployment[0]}")
    if ended.returncode:
        output = (ended.stderr or ended.stdout).strip()[-1500:]
        raise TerminalError(f"The work pools were not deployed: {output}", "Fix it and redeploy.")


# The most tasks that ECS lists, describes or waits for in one request.
_AT_ONCE = 100


def end_flow_runs(ecs: Any, cluster: str, families: Collection[str]) -> int:
    """Stops all tasks of these families and waits for their end; returns their number."""
    running = list(_running(ecs, cluster, families))
    for task in running:
        ecs.stop_task(cluster=cluster, task=task, reason="clipflow is being deleted.")
    for start in range(0, len(running), _AT_ONCE):
        some = running[start : start + _AT_ONCE]
        ecs.get_waiter("tasks_stopped").wait(cluster=cluster, tasks=some)
    return len(running)


def _running(ecs: Any, cluster: str, families: Collection[str]) -> Iterator[str]:
    for family in families:
        pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, family=family)
        for page in pages:
            yield from page["taskArns"]
