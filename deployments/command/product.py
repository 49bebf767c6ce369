"""Which clipflow the command talks to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from rich.console import Console

from deployments.local_stack import running_stack
from deployments.local_stack.settings import StackSettings, client_environment


@contextmanager
def product(console: Console) -> Iterator[None]:
    """The one that the environment names; else `make up`'s, where it runs; else one of our own.

    While it lasts the environment of this process names it. Raises StackError where our own does
    not come up.
    """
    if "PREFECT_API_URL" in os.environ:
        yield
        return
    settings = StackSettings.read()
    os.environ.update(client_environment(settings))
    if _answers(settings):
        yield
        return
    console.print("Starting the local stack. With `make up` in another terminal it stays up.")
    with running_stack():
        yield


def _answers(settings: StackSettings) -> bool:
    try:
        return httpx.get(f"{settings.prefect_url}/api/health", trust_env=False).is_success
    except httpx.TransportError:
        return False
