"""What a worker remembers of deployments and flows.

Prefect's worker reads the deployment twice and the flow once for each run that it submits, which is
three of its seven requests.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import Generic, TypeVar
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from pydantic import BaseModel

Read = TypeVar("Read", bound=BaseModel)

# A deployment that was changed, as by `make deploy`, or deleted is noticed after this time.
DEPLOYMENT_SECONDS = 10.0


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


def remember_reads(client: PrefectClient, clock: Callable[[], float] = time.monotonic) -> None:
    """Lets this client of a worker remember deployments for some seconds, and flows for ever."""
    deployments = Remembered(client.read_deployment, DEPLOYMENT_SECONDS, clock)
    # Nothing that a worker uses of a flow ever changes.
    flows = Remembered(client.read_flow, inf, clock)
    for name, remembered in (("read_deployment", deployments), ("read_flow", flows)):
        setattr(client, name, remembered)
