"""Flow runs that ended with their worker, or with the Prefect server, are scheduled again."""

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import httpx

from deployments.local_stack import processes
from deployments.local_stack.settings import WORK_POOL

# Seconds in which a flow run ends that could not do without the server.
LAST_WORDS = 5
_RUN = b"PREFECT__FLOW_RUN_ID="


async def take_back(prefect_url: str) -> int:
    """What a worker that is no more was running; also where the server is away, now or meanwhile.

    Answers how many runs.
    """
    # Prefect is imported while its server starts: it takes as long as all of the rest here.
    from deployments.local_stack import work_pool

    while True:
        await answers(f"{prefect_url}/api/health")
        with suppress(httpx.HTTPError):
            return await work_pool.take_back(WORK_POOL)
        await asyncio.sleep(1)


async def take_back_the_dead(prefect_url: str, since: datetime) -> int:
    """What has ended while the server was away, since `since`, so that nobody could tell it.

    Prefect's client does not try again where a connection is refused: a run that is being started
    then never gets a process, and one that runs ends at its next request. Answers how many runs.
    """
    from deployments.local_stack import work_pool

    await answers(f"{prefect_url}/api/health")
    await asyncio.sleep(LAST_WORDS)
    alive = flow_runs(processes.below(os.getpid()))
    with suppress(httpx.HTTPError):  # it has died again, and whoever called does so again
        return await work_pool.take_back(WORK_POOL, since, alive)
    return 0


def flow_runs(pids: Iterable[int]) -> set[str]:
    """The ids of the runs that these processes run; Linux only."""
    found = set()
    for pid in pids:
        with suppress(OSError):  # it ended since
            for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                if variable.startswith(_RUN):
                    found.add(variable.removeprefix(_RUN).decode())
    return found


async def answers(url: str) -> None:
    """Returns once `url` answers well."""
    async with httpx.AsyncClient(timeout=5) as client:
        while True:
            with suppress(httpx.TransportError):
                if (await client.get(url)).is_success:
                    return
            await asyncio.sleep(0.1)
