"""`python -m deployments.operate VERB`; `make VERB` does the same.

Verbs talk to the AWS and the Prefect of the environment. Where that names no Prefect, all but
`deploy` and `destroy` talk to those of `make up`. docs/aws.md is the guide.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from deployments.local_stack.settings import StackSettings, client_environment

console = Console(soft_wrap=True, highlight=False, markup=False)
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
# Lines of each part of the local stack.
_TAIL = 20


@app.command()
def deploy(
    dry_run: Annotated[
        bool, typer.Option(envvar="DRY_RUN", help="Say what would change, and change nothing.")
    ] = False,
) -> None:
    """Bring the stacks, work pools, deployments and workers to what this code says."""
    from deployments.operate import deploy

    with _told():
        deploy.deploy(deploy.Account(os.environ, console), dry_run)


@app.command()
def destroy(confirm: Annotated[str, typer.Option(envvar="CONFIRM", help="yes")] = "") -> None:
    """Delete the stacks, the last one first; bucket, table and logs stay."""
    from deployments.operate import deploy

    with _told():
        deploy.destroy(deploy.Account(os.environ, console), confirm == "yes")


@app.command()
def status() -> None:
    """Stacks, work pools, queues, records in progress, runs by state."""
    _named()
    from prefect.client.orchestration import get_client

    from deployments.operate import runs
    from deployments.operate.account import Found

    with _told(), get_client(sync_client=True) as prefect:
        found = Found()
        _section("stacks", found.stacks.items())
        _section("work pools", runs.pools(prefect))
        _section("queues", found.queues())
        working = found.in_progress()
        _section(f"records in progress: {len(working)}", ((w.since, str(w)) for w in working))
        counted = runs.states(prefect).items()
        _section("runs under way, and of the last day", ((s, str(n)) for s, n in counted))


@app.command(name="runs")
def last_runs(
    limit: Annotated[int, typer.Option(envvar="LIMIT", min=1, max=200, help="How many.")] = 20,
) -> None:
    """The last runs, the newest first, one line each."""
    _named()
    from prefect.client.orchestration import get_client

    from deployments.operate import runs

    with _told(), get_client(sync_client=True) as prefect:
        for line in runs.latest(prefect, limit):
            console.print(line)


@app.command()
def run_shorts(
    user_id: Annotated[str, typer.Option(envvar="USER_ID")],
    video_id: Annotated[str, typer.Option(envvar="VIDEO_ID")],
    force: Annotated[
        bool, typer.Option(envvar="FORCE", help="Also make what is made already.")
    ] = False,
) -> None:
    """Start the shorts of a video that lies in the warehouse."""
    _named()
    from prefect.client.orchestration import get_client

    from deployments.operate import runs

    with _told(), get_client(sync_client=True) as prefect:
        video = runs.Video(user_id=user_id, video_id=video_id, force=force)
        run, address = runs.start_shorts(prefect, video)
        console.print(f"Run {run}: {address}\nmake logs RUN={run}")


@app.command()
def run_clips(
    tenant_id: Annotated[str, typer.Option(envvar="TENANT_ID")],
    episode_id: Annotated[str, typer.Option(envvar="EPISODE_ID")],
) -> None:
    """Ask for the clips of an episode, by the event that a detector sends."""
    _named()
    from deployments.operate.account import ask_for_clips

    with _told():
        event = ask_for_clips(tenant_id, episode_id)
        console.print(f"Event {event}. Its run shows in `make runs` within seconds.")


@app.command()
def logs(
    run: Annotated[str, typer.Option(envvar="RUN", help="A run's id or name.")] = "",
    minutes: Annotated[int, typer.Option(envvar="MINUTES", min=1, help="Back to when.")] = 15,
) -> None:
    """What a run said; without RUN what all said of late."""
    on_one_machine = _named()
    from deployments.operate.account import Found

    with _told():
        if run:
            _run_logs(run)
        elif on_one_machine:
            _stack_logs()
        else:
            for line in Found().logs(minutes):
                console.print(line)


def _run_logs(named: str) -> None:
    from prefect.client.orchestration import get_client

    from deployments.operate import runs

    with get_client(sync_client=True) as prefect:
        for line in runs.logs(prefect, named):
            console.print(line)


def _stack_logs() -> None:
    for log in sorted(StackSettings.read().logs.glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-_TAIL:]
        _section(str(log), ((line, "") for line in lines))


def _section(title: str, rows: object) -> None:
    console.print(title)
    for name, value in list(rows):  # type: ignore[call-overload]
        console.print(f"  {name}  {value}".rstrip())


def _named() -> bool:
    """Whether it is `make up`'s that this process talks to from now on.

    Called before Prefect is imported, which reads the environment then.
    """
    if "PREFECT_API_URL" in os.environ:
        return False
    os.environ.update(client_environment(StackSettings.read()))
    return True


@contextmanager
def _told() -> Iterator[None]:
    """Ends this process with one line for whatever goes wrong."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a person reads it, and their kinds are many
        _end(*_why(error))


def _why(error: Exception) -> tuple[int, str]:
    # Here, since they take seconds, and most verbs end well.
    from botocore.exceptions import BotoCoreError, ClientError
    from prefect.exceptions import ObjectNotFound

    from deployments.command.output import format_error

    match error:
        case BotoCoreError() | ClientError():
            return 1, f"AWS: {error}"
        case ObjectNotFound():
            return 1, "Prefect does not have it. Deploy first: `make deploy`, or `make up`."
    code, message, remedy = format_error(error)
    return code, f"{message} {remedy}"


def _end(code: int, why: str) -> None:
    console.print(why.strip(), style="red")
    raise typer.Exit(code)


if __name__ == "__main__":
    sys.exit(app())
