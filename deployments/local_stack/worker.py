"""`python -m deployments.local_stack.worker`: one process that serves all of the local work pools.

`prefect worker start` serves one pool, and four of them would take four times the memory.
"""

import asyncio
import os

from prefect.settings import PREFECT_WORKER_HEARTBEAT_SECONDS
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import ProcessWorker

from deployments.local_stack.stack_settings import WORK_POOLS


async def serve() -> None:
    """Serves the pools until this process is signalled to end; then ends their flow runs."""
    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    async with asyncio.TaskGroup() as group:
        for pool in WORK_POOLS:
            worker = ProcessWorker(
                name="clipflow-local",
                work_pool_name=pool,
                heartbeat_interval_seconds=int(PREFECT_WORKER_HEARTBEAT_SECONDS.value()),
            )
            group.create_task(worker.start())


if __name__ == "__main__":
    asyncio.run(serve())
