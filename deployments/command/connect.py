"""Which clipflow the command talks to."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx

from clipflow.domain.errors import redact
from clipflow.settings import settings
from deployments.command.output import Answer, UnreachableError
from deployments.local_stack import StackError, running_stack
from deployments.local_stack.settings import StackSettings, client_environment

_SECONDS = 5


@contextmanager
def product(answer: Answer, *, may_start: bool) -> Iterator[None]:
    """The one that the environment names; else `make up`'s, where it runs; else, where that is
    wanted, one of our own.

    While it lasts the environment of this process names it. Raises UnreachableError where none
    answers, or ours does not come up, InvalidInputError where the environment says too little.
    """
    with ExitStack() as ending:
        if "PREFECT_API_URL" in os.environ:
            settings()
            _check_named()
        else:
            stack = StackSettings.read()
            os.environ.update(client_environment(stack))
            if not _answers(stack):
                if not may_start:
                    raise UnreachableError(
                        f"No clipflow answers at {stack.prefect_url}.",
                        "Start it with `make up`, or set PREFECT_API_URL to another's.",
                    )
                answer.say("With `make up` in another terminal the stack would stay up.")
                with answer.busy("Starting a local stack for this command"):
                    ending.enter_context(_our_own(stack))
        yield


@contextmanager
def _our_own(stack: StackSettings) -> Iterator[None]:
    with ExitStack() as ending:
        try:
            ending.enter_context(running_stack())
        except (StackError, OSError) as error:
            said = str(error).removeprefix("clipflow: ")
            raise UnreachableError(
                f"A local stack does not come up: {said}.",
                f"Its logs are in {stack.logs}; CLIPFLOW_HOME names another place.",
            ) from error
        yield


def _check_named() -> None:
    """Raises UnreachableError where the environment's Prefect does not answer, as its client sees
    it."""
    # Here, because Prefect reads the environment when it is imported.
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
        address = client.api_url.copy_with(userinfo=b"")
    if error:
        raise UnreachableError(
            f"No Prefect server answers at {redact(str(address))}.",
            "Start it, or correct PREFECT_API_URL; where that is unset, `make up`'s is used.",
        ) from error


def _answers(stack: StackSettings) -> bool:
    try:
        address = f"{stack.prefect_url}/api/health"
        return httpx.get(address, trust_env=False, timeout=_SECONDS).is_success
    except httpx.TransportError:
        return False
