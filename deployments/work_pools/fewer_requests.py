"""A worker that sends two requests for a run instead of seven, and runs that request no tokens.

Prefect's worker reads the deployment twice and the flow once for each run that it submits, labels
the run with its name, and reports two states: Pending and, before it starts the run's process,
Submitting. Then it stores where the process is. Each client of a run first requests a CSRF token,
also if the server has none.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID, uuid4

import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.workers.base import BaseWorker
from pydantic import BaseModel

if TYPE_CHECKING:
    Worker = BaseWorker[Any, Any, Any]
else:
    # A class that is derived from Prefect's base is registered as a worker of its own.
    Worker = object

Read = TypeVar("Read", bound=BaseModel)

# A deployment that was changed, as by `make deploy`, or deleted is noticed after this time.
DEPLOYMENT_SECONDS = 10.0
# What Prefect's client looks for in the answer of a server that has no CSRF tokens.
_DISABLED = "CSRF protection is disabled."


class Remembered(Generic[Read]):
    """`read`, whose results are returned again for some seconds."""

    def __init__(
        self, read: Callable[[UUID], Awaitable[Read]], seconds: float, clock: Callable[[], float]
    ) -> None:
        self._read, self._seconds, self._clock = read, seconds, clock
        self._found: dict[UUID, tuple[float, Read]] = {}
        # Many runs are submitted at the same time, and only the first of them has to read.
        self._reading = asyncio.Lock()

    async def __call__(self, id: UUID) -> Read:
        async with self._reading:
            until, found = self._found.get(id, (-inf, None))
            if found is None or until < self._clock():
                found = await self._read(id)
                self._found[id] = self._clock() + self._seconds, found
        # Prefect adds the variables of a run to those of the deployment that it has read.
        return found.model_copy(deep=True)


def remember_reads(client: PrefectClient, clock: Callable[[], float]) -> None:
    """Lets this client of a worker remember deployments for some seconds, and flows for ever."""
    deployments = Remembered(client.read_deployment, DEPLOYMENT_SECONDS, clock)
    # Nothing that a worker uses of a flow ever changes.
    flows = Remembered(client.read_flow, inf, clock)
    for name, remembered in (("read_deployment", deployments), ("read_flow", flows)):
        setattr(client, name, remembered)


class FewerRequests(Worker):
    """A mixin, which has to be the first base of a worker's class."""

    def clock(self) -> float:
        """Seconds; a test replaces it."""
        return time.monotonic()

    async def setup(self) -> None:
        """Also lets the worker remember what it reads."""
        await super().setup()
        remember_reads(self.client, self.clock)

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Sends nothing: no label of a run is read anywhere, and its log names the worker."""

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Sends nothing: nothing depends on whether a pending run is already being started."""


def server_variables() -> dict[str, str]:
    """The variables of runs that need not ask the server whether it requires CSRF tokens, as it has
    answered that now.

    Raises httpx's HTTPError if it does not answer. Prefect Cloud is never asked for tokens.
    """
    with get_client(sync_client=True) as client:
        try:
            client.request("GET", "/csrf-token", params={"client": str(uuid4())})
        except httpx.HTTPStatusError as error:
            answer = error.response
            if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY and _DISABLED in answer.text:
                return {"PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false"}
            if answer.status_code != httpx.codes.NOT_FOUND:
                raise
    return {}


def server_variables_if_known() -> dict[str, str]:
    """The same; empty if the server does not answer at once, so the runs have to ask."""
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            return server_variables()
    except httpx.HTTPError as error:
        print(f"Prefect does not say whether it requires CSRF tokens: {error}", flush=True)
        return {}
