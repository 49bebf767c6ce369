"""`python -m deployments.local_stack.supervise`, which the guard starts: one supervisor's life."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable

from pydantic import ValidationError

from deployments.local_stack.claims import claimed
from deployments.local_stack.errors import StackError
from deployments.local_stack.launch import adopt_orphans
from deployments.local_stack.settings import StackSettings, environment
from deployments.local_stack.supervisor import Supervisor, complain, say


async def supervise(settings: StackSettings) -> int:
    """Until SIGINT or SIGTERM; a second one a second later or more hurries. The exit code."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def signalled() -> None:
        if not stop.is_set():
            stop.set()
            # One Ctrl-C may arrive more than once, by way of make and of the terminal.
            loop.call_later(1, lambda: listen(hurry.set))

    def listen(handler: Callable[[], None]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, handler)

    listen(signalled)
    supervisor = Supervisor(settings)
    work = asyncio.create_task(supervisor.run())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    try:
        work.cancel()
        await work
    except asyncio.CancelledError:
        say("stopping")
        return 0
    finally:
        signalled()
        await supervisor.stop(hurry)
    return 1


def main() -> int:
    adopt_orphans()
    try:
        settings = StackSettings()
        parts = environment(settings, os.environ)
        os.environ.clear()
        os.environ.update(parts)
        with claimed(settings):
            return asyncio.run(supervise(settings))
    except ValidationError as error:
        for problem in error.errors():
            complain(f"{problem['loc'][0]} {problem['msg']}")
    except StackError as error:
        complain(str(error))
    return 1


if __name__ == "__main__":
    sys.exit(main())
