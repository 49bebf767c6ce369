"""`clipflow open`: a job's results page, or its run in the Prefect UI, in a browser."""

import os
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from clipflow.domain.errors import SourceNotFoundError
from deployments.command.output import Answer


def local_page(out: Path, name: str | None) -> Path | None:
    """The page of `name` that an earlier command has brought here; without a name, the newest."""
    if name is not None:
        path = out / f"{name}.html"
        return path if "/" not in name and path.is_file() else None
    pages = sorted(out.glob("*.html"), key=lambda path: path.stat().st_mtime)
    return pages[-1] if pages else None


def fetched_page(wanted: str | None, out: Path) -> Path:
    """The page of a job that Prefect knows, brought here with what it shows; without a name, of the
    last that was made. Raises SourceNotFoundError where there is none."""
    # Here, because Prefect reads the environment when it is imported, and `product` sets it.
    from prefect.client.orchestration import get_client

    from deployments.command.files import fetch
    from deployments.command.prefect_api import find_job, recent_jobs

    with get_client(sync_client=True) as client:
        jobs = [find_job(client, wanted)] if wanted else recent_jobs(client, 20)
    for job in jobs:
        page = fetch(job.keys, out, job.name).page
        if page:
            return page
    raise SourceNotFoundError(
        f"{wanted or 'None of the last jobs'} has no page of results.",
        "`clipflow status` tells how far it is; `--run` opens its run instead.",
    )


def run_address(wanted: str | None) -> str:
    """Of a job's run in the Prefect UI; without a name, of the newest. Raises
    SourceNotFoundError."""
    from prefect.client.orchestration import get_client
    from prefect.utilities.urls import url_for

    from deployments.command.prefect_api import find_job, recent_jobs

    with get_client(sync_client=True) as client:
        jobs = [find_job(client, wanted)] if wanted else recent_jobs(client, 1)
    address = url_for("flow-run", obj_id=jobs[0].run.id) if jobs else None
    if not address:
        raise SourceNotFoundError(
            "There is no run to open.", "Begin with `clipflow shorts talk.mp4`."
        )
    return address


def show(address: str, answer: Answer) -> None:
    """The address, said and opened."""
    answer.document["address"] = address
    answer.say(address)
    with _stdout_on_stderr() if answer.as_json else nullcontext():
        opened = webbrowser.open(address)
    answer.document["opened"] = opened
    if not opened:
        answer.say("No browser could be opened: open the address yourself.")


@contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    """A text browser prints where this process does: not into the document."""
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(ours, 1)
        os.close(ours)
