"""`python -m deployments.operate VERB`; `make VERB` does the same.

Commands use the AWS account and the Prefect server that the environment names. If it names no
Prefect server, all but `deploy` and `destroy` use the stack of `make up`. docs/aws.md is the guide.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from deployments.local_stack.stack_settings import StackSettings, client_environment

console = Console(soft_wrap=True, highlight=False, markup=False)
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
# How many lines of the log of each part of the local stack are printed.
_TAIL = 20


@app.command()
def deploy(
    dry_run: Annotated[
        bool, typer.Option(envvar="DRY_RUN", help="Print what would change, and change nothing.")
    ] = False,
) -> None:
    """Create or update the stacks, work pools, deployments and workers."""
    from deployments.operate import deploy

    with _one_line_errors():
        deploy.deploy(deploy.Account(os.environ, console), dry_run)


@app.command()
def destroy(confirm: Annotated[str, typer.Option(envvar="CONFIRM", help="yes")] = "") -> None:
    """Delete the stacks, the last one first; the bucket, the table and the logs are kept."""
    from deployments.operate import deploy

    with _one_line_errors():
        deploy.destroy(deploy.Account(os.environ, console), confirm == "yes")


@app.command()
def status() -> None:
    """Show the stacks, work pools, queues, records in progress, and runs by state."""
    _choose_server()
    from prefect.client.orchestration import get_client

    from deployments.operate import own_server, runs
    from deployments.operate.account import DeployedResources

    with _one_line_errors(), get_client(sync_client=True) as prefect:
        resources = DeployedResources()
        _section("stacks", resources.stacks.items())
        if server := list(own_server.parts(resources)):
            _section("Prefect's server", server)
        _section("work pools", runs.pools(prefect))
        _section("queues", resources.queues())
        working = resources.in_progress()
        _section(f"records in progress: {len(working)}", ((w.since, str(w)) for w in working))
        counted = runs.states(prefect).items()
        title = "unfinished runs, and runs started in the last day"
        _section(title, ((state, str(count)) for state, count in counted))


@app.command(name="runs")
def last_runs(
    limit: Annotated[
        int, typer.Option(envvar="LIMIT", min=1, max=200, help="The number of runs.")
    ] = 20,
) -> None:
    """List the last runs, newest first, one line each."""
    _choose_server()
    from prefect.client.orchestration import get_client

    from deployments.operate import runs

    with _one_line_errors(), get_client(sync_client=True) as prefect:
        for line in runs.latest(prefect, limit):
            console.print(line)


@app.command()
def run_shorts(
    user_id: Annotated[str, typer.Option(envvar="USER_ID")],
    video_id: Annotated[str, typer.Option(envvar="VIDEO_ID")],
    force: Annotated[
        bool, typer.Option(envvar="FORCE", help="Make everything again, even if it exists.")
    ] = False,
) -> None:
    """Start a run that makes the shorts of a stored video."""
    _choose_server()
    from prefect.client.orchestration import get_client

    from deployments.operate import runs

    with _one_line_errors(), get_client(sync_client=True) as prefect:
        video = runs.ShortsParameters(user_id=user_id, video_id=video_id, force=force)
        run, address = runs.start_shorts(prefect, video)
        console.print(f"Run {run}: {address}\nmake logs RUN={run}")


@app.command()
def run_clips(
    tenant_id: Annotated[str, typer.Option(envvar="TENANT_ID")],
    episode_id: Annotated[str, typer.Option(envvar="EPISODE_ID")],
) -> None:
    """Request the clips of an episode, with the event that a detector sends."""
    _choose_server()
    from deployments.operate.account import request_clips

    with _one_line_errors():
        event = request_clips(tenant_id, episode_id)
        console.print(f"Event {event}. Its run shows in `make runs` within seconds.")


@app.command()
def logs(
    run: Annotated[str, typer.Option(envvar="RUN", help="A run's id or name.")] = "",
    minutes: Annotated[
        int, typer.Option(envvar="MINUTES", min=1, help="The minutes to show.")
    ] = 15,
) -> None:
    """Show the logs of a run and its containers; without RUN, the latest logs of all containers."""
    on_one_machine = _choose_server()
    from deployments.operate.account import DeployedResources

    with _one_line_errors():
        if run:
            _run_logs(run, in_containers=not on_one_machine)
        elif on_one_machine:
            _stack_logs()
        else:
            for line in DeployedResources().logs(minutes):
                console.print(line)


def _run_logs(name_or_id: str, *, in_containers: bool) -> None:
    from prefect.client.orchestration import get_client

    from deployments.operate import runs
    from deployments.operate.account import DeployedResources

    with get_client(sync_client=True) as prefect:
        found = runs.run_with_children(prefect, name_or_id)
        for line in runs.logs(prefect, found):
            console.print(line)
    if in_containers:
        since = min(run.created or datetime.now(UTC) for run in found)
        streams = [stream for run in found for stream in runs.log_streams(run)]
        ids = [str(run.id) for run in found]
        for stream, lines in DeployedResources().container_logs(ids, streams, since):
            _section(f"container {stream}", ((line, "") for line in lines))


def _stack_logs() -> None:
    for log in sorted(StackSettings.read().logs.glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-_TAIL:]
        _section(str(log), ((line, "") for line in lines))


def _section(title: str, rows: object) -> None:
    console.print(title)
    for name, value in list(rows):  # type: ignore[call-overload]
        console.print(f"  {name}  {value}".rstrip())


def _choose_server() -> bool:
    """Use the account's own Prefect server, or the stack of `make up`, if no server is set; returns
    whether that stack is used.

    Call it before importing Prefect, which reads the environment when it is imported.
    """
    if "PREFECT_API_URL" in os.environ:
        return False
    if os.environ.get("CLIPFLOW_PREFECT_SERVER") == "own":
        with _one_line_errors():
            from prefect.context import refresh_global_settings_context

            from deployments.operate import own_server

            os.environ.update(own_server.connection(os.environ))
            refresh_global_settings_context()
        return False
    os.environ.update(client_environment(StackSettings.read()))
    return True


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turns any error into a one-line message and an exit code."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - shown to a person, and there are many kinds
        _end(*_why(error))


def _why(error: Exception) -> tuple[int, str]:
    # Imported here, since that takes seconds and most commands succeed.
    from botocore.exceptions import BotoCoreError, ClientError
    from prefect.exceptions import ObjectNotFound

    from deployments.command.output import format_error

    match error:
        case BotoCoreError() | ClientError():
            return 1, f"AWS: {error}"
        case ObjectNotFound():
            return 1, "It is not deployed. Run `make deploy`, or `make up`."
    code, message, remedy = format_error(error)
    return code, f"{message} {remedy}"


def _end(code: int, why: str) -> None:
    console.print(why.strip(), style="red")
    raise typer.Exit(code)


if __name__ == "__main__":
    sys.exit(app())
