"""`python -m deployments.warm`: the process worker of a warm machine.

It has a run server beside it, from which each run is forked (`deployments/local_stack`). After
SIGTERM it takes no more runs, lets those that it has continue for some time, and returns the rest
to the pool, from which another machine takes them. ECS sends SIGTERM if Spot takes the machine
back, if the service needs fewer machines, and if it is updated.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from deployments.local_stack.launch import bound_command
from deployments.local_stack.run_client import ADDRESS

# The settings of the flows as JSON, because a template has no parameters for all of them.
FLOW_SETTINGS = "CLIPFLOW_FLOW_SETTINGS"
_SECONDS_TO_START = 60.0
_SECONDS_TO_RESTART = 1.0


async def keep_run_server() -> None:
    """Runs the run server, and starts it again if it ends, until it is cancelled.

    Meanwhile, each run starts a Python process of its own.
    """
    while True:
        command = bound_command(sys.executable, "-m", "deployments.local_stack.run_server")
        server = await asyncio.create_subprocess_exec(*command)
        try:
            await server.wait()
        finally:
            if server.returncode is None:
                server.terminate()
                await server.wait()
        await asyncio.sleep(_SECONDS_TO_RESTART)


async def wait_for_run_server() -> None:
    """Returns once the run server accepts runs, or after some time without one."""
    deadline = time.monotonic() + _SECONDS_TO_START
    while not Path(os.environ[ADDRESS]).exists() and time.monotonic() < deadline:  # noqa: ASYNC240
        await asyncio.sleep(0.05)


async def serve() -> None:
    """Serves the warm pool until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    forking = asyncio.create_task(keep_run_server())
    try:
        # Imported after the run server was started, because it takes seconds.
        from deployments.warm.worker import serve_until

        await wait_for_run_server()
        await serve_until(stop)
    finally:
        forking.cancel()
        await asyncio.wait({forking})


def environment() -> dict[str, str]:
    """What this machine and its runs need in addition to the variables of the container.

    A run is forked only if it has the same settings of Prefect as the run server.
    """
    # Imported here, like the worker, because it takes a second.
    from deployments.work_pools.fewer_requests import server_variables_if_known

    given = json.loads(os.environ.get(FLOW_SETTINGS) or "{}")
    return {**server_variables_if_known(), **given}


if __name__ == "__main__":
    os.environ.update(environment())
    asyncio.run(serve())
