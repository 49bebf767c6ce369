"""Connects the command to a Prefect server and AWS: those of the environment or the local stack."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from clipflow.domain.errors import redact
from clipflow.settings import settings
from deployments.command.output import Output, UnreachableError
from deployments.local_stack import StackError, shared_stack
from deployments.local_stack.stack_settings import StackSettings, client_environment


@contextmanager
def connect(output: Output, *, may_start: bool) -> Iterator[None]:
    """Connects this process to a clipflow installation by setting its environment variables.

    If PREFECT_API_URL is set, the command uses that server. Otherwise it uses the local stack of
    CLIPFLOW_HOME that `make up` or another command has started. If no stack is running and
    `may_start` is true, it starts one. Commands share that stack, and the last one to end stops it.

    Raises UnreachableError if no server answers or the local stack does not start,
    InvalidInputError if a required setting is missing from the environment.
    """
    if "PREFECT_API_URL" in os.environ:
        settings()
        _check_prefect()
        yield
        return
    stack = StackSettings.read()
    os.environ.update(client_environment(stack))
    with ExitStack() as exit_stack:
        try:
            users = exit_stack.enter_context(shared_stack(stack))
            if not users.is_running() and not may_start:
                raise UnreachableError(
                    f"No clipflow answers at {stack.prefect_url}.",
                    "Start it with `make up`, or set PREFECT_API_URL to the address of another.",
                )
            if not users.is_running():
                output.line("Run `make up` in another terminal to keep the stack running.")
                with output.spinner("Starting a local stack for this command"):
                    users.start()
        except (StackError, OSError) as error:
            reason = str(error).removeprefix("clipflow: ")
            raise UnreachableError(
                f"The local stack does not come up: {reason}.",
                f"See its logs in {stack.logs}, or set CLIPFLOW_HOME to another folder.",
            ) from error
        yield


def _check_prefect() -> None:
    """Raises UnreachableError if the environment's Prefect does not answer its client."""
    # Imported here, because Prefect reads the environment when it is imported.
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
        address = client.api_url.copy_with(userinfo=b"")
    if error:
        raise UnreachableError(
            f"No Prefect server answers at {redact(str(address))}.",
            "Start it, or correct PREFECT_API_URL; if that is unset, the local stack is used.",
        ) from error
