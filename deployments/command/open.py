"""`clipflow open`: a job's results page, or its run in the Prefect UI, in a browser."""

import os
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from clipflow.domain.errors import SourceNotFoundError
from deployments.command.output import Output


def local_page(out: Path, name: str | None) -> Path | None:
    """The path of the downloaded page `name`, or without a name of the newest one in the folder;
    None if there is no such page."""
    if name is not None:
        path = out / f"{name}.html"
        return path if "/" not in name and path.is_file() else None
    pages = sorted(out.glob("*.html"), key=lambda path: path.stat().st_mtime)
    return pages[-1] if pages else None


def find_page(name_or_id: str | None, out: Path) -> Path:
    """The results page of a job in Prefect; without a name, of the newest job that has one.

    Downloads the page and its files unless they are already there. Raises SourceNotFoundError if
    there is no page.
    """
    # Imported here, because Prefect reads the environment when it is imported, and `connect` sets
    # it before.
    from prefect.client.orchestration import get_client

    from deployments.command.files import OutputManifest, download_results
    from deployments.command.prefect_api import find_job, recent_jobs

    with get_client(sync_client=True) as client:
        jobs = [find_job(client, name_or_id)] if name_or_id else recent_jobs(client, 20)
    for job in jobs:
        # An earlier command may have downloaded it under the name of the local video file.
        existing = OutputManifest(out, job.keys).page()
        page = existing or download_results(job.keys, out, job.name).page
        if page:
            return page
    raise SourceNotFoundError(
        f"{name_or_id or 'None of the last jobs'} has no page of results.",
        "See `clipflow status` for its progress; `--run` opens its run instead.",
    )


def run_address(name_or_id: str | None) -> str:
    """The address of a job's run in the Prefect UI; without a name, of the newest. Raises
    SourceNotFoundError."""
    from prefect.client.orchestration import get_client
    from prefect.utilities.urls import url_for

    from deployments.command.prefect_api import find_job, recent_jobs

    with get_client(sync_client=True) as client:
        jobs = [find_job(client, name_or_id)] if name_or_id else recent_jobs(client, 1)
    address = url_for("flow-run", obj_id=jobs[0].run.id) if jobs else None
    if not address:
        raise SourceNotFoundError(
            "There is no run to open.", "Begin with `clipflow shorts talk.mp4`."
        )
    return address


def open_address(address: str, output: Output) -> None:
    """Prints the address and opens it in a browser."""
    output.document["address"] = address
    output.line(address)
    with _stdout_to_stderr() if output.as_json else nullcontext():
        opened = webbrowser.open(address)
    output.document["opened"] = opened
    if not opened:
        output.line("No browser could be opened: open the address yourself.")


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Redirects stdout to stderr, so that a text browser's output is not mixed into the JSON."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
