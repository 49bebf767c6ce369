"""Starts the parts in order, watches them, and stops them in the opposite order.

`python -m deployments.local_stack.supervisor`, which the guard starts, until SIGINT or SIGTERM.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from deployments.local_stack import processes
from deployments.local_stack.launch import adopt_orphans
from deployments.local_stack.processes import Part
from deployments.local_stack.run_client import ADDRESS
from deployments.local_stack.stack_settings import (
    BUCKET,
    HOST,
    TABLE,
    StackError,
    StackSettings,
    part_environment,
)

DEPLOYMENTS = Path(__file__).parents[2] / "prefect.yaml"
START_SECONDS = 180  # The very first start creates the Prefect database.
SHORT_LIFE = 20  # Seconds: a part that ends sooner counts as failed.
REAP_EVERY = 5  # Seconds.
MAX_FAILURES = 3  # How often in a row a part may end unexpectedly before the stack stops.


class Supervisor:
    """One run of the stack."""

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._ready = False
        self._watching = asyncio.TaskGroup()
        # Held while a part starts, so that `_end_flow_runs` does not mistake the new part for a
        # process that a flow run has left behind.
        self._children = asyncio.Lock()
        # MiniStack's state is in memory: without the process the stack cannot continue, and at its
        # end the process needs time to save.
        self._aws = self._part("aws", "deployments.local_stack.local_aws")
        self._aws.grace, self._aws.hurried_grace, self._aws.restarts = 60, 20, False
        self._prefect = self._part("prefect", "deployments.local_stack.local_prefect")
        self._deploy = self._part("deploy", "prefect --no-prompt deploy --all")
        self._deploy.command += ["--prefect-file", str(DEPLOYMENTS)]
        self._runs = self._part("runs", "deployments.local_stack.run_server")
        self._worker = self._part("worker", "deployments.local_stack.worker")
        self._bridge = self._part("bridge", "deployments.bridge")
        self._parts = (
            self._aws,
            self._prefect,
            self._deploy,
            self._runs,
            self._worker,
            self._bridge,
        )

    def _part(self, name: str, module: str) -> Part:
        return Part(name, ["-m", *module.split()], self._settings.logs / f"{name}.log")

    async def run(self) -> None:
        """Runs until it is cancelled. Raises StackError if the stack cannot start or continue."""
        try:
            async with self._watching:
                async with asyncio.timeout(START_SECONDS):
                    await self._start()
                self._ready = True
                if sys.platform == "linux":  # Elsewhere orphans are not adopted.
                    self._watching.create_task(self._reap_orphans())
                self._announce()
        except* StackError as errors:
            raise errors.exceptions[0] from None
        except* TimeoutError:
            raise StackError(f"not ready in {START_SECONDS} s: see {self._settings.logs}") from None

    async def stop(self, hurry: asyncio.Event) -> None:
        """Ends all processes of the stack. Unfinished runs continue at the next start."""
        await self._bridge.stop(hurry)
        await self._deploy.stop(hurry)
        await self._stop_worker(hurry)
        with suppress(Exception):  # The server may be unreachable; the next start repeats this.
            async with asyncio.timeout(5):
                await self._reschedule_unfinished()
        await self._runs.stop(hurry)
        await self._prefect.stop(hurry)
        await self._aws.stop(hurry)
        processes.kill(processes.descendants(os.getpid()))

    async def _start(self) -> None:
        await self._launch(self._aws)
        await self._launch(self._prefect)
        if ADDRESS in os.environ:
            await self._launch(self._runs)
        await asyncio.gather(self._set_up_aws(), self._set_up_prefect())
        self._empty_scratch()
        since = datetime.now(UTC)
        await self._launch(self._worker)
        await asyncio.gather(self._wait_for_worker(since), self._deploy_and_listen())

    async def _launch(self, part: Part) -> None:
        processes.rotate(part.log)
        await self._start_part(part)
        self._watching.create_task(self._watch(part))

    async def _start_part(self, part: Part) -> None:
        async with self._children:
            await part.start()

    async def _set_up_aws(self) -> None:
        from deployments.local_stack import provision

        await processes.wait_until_healthy(f"{self._settings.aws_url}/_ministack/ready")
        await asyncio.to_thread(provision.deploy_data, self._settings.aws_url)

    async def _set_up_prefect(self) -> None:
        from deployments.local_stack import provision

        await processes.wait_until_healthy(f"{self._settings.prefect_url}/api/health")
        await provision.create_work_pools()
        await self._reschedule_unfinished()

    async def _reschedule_unfinished(self) -> None:
        from deployments.local_stack import provision

        if count := await provision.reschedule_unfinished(self._settings.prefect_url):
            say(f"{count} unfinished flow runs start again with the next worker")

    async def _reschedule_lost(self, since: datetime) -> None:
        from deployments.local_stack import provision

        if count := await provision.reschedule_lost(self._settings.prefect_url, since):
            say(f"{count} flow runs that ended while Prefect was unreachable start again")

    async def _wait_for_worker(self, since: datetime) -> None:
        from deployments.local_stack import provision

        await provision.wait_for_worker(since)

    async def _deploy_and_listen(self) -> None:
        """Deploys the flows, then starts the bridge: an event posted before its trigger exists
        starts nothing."""
        processes.rotate(self._deploy.log)
        await self._start_part(self._deploy)
        if await self._deploy.ended() != 0:
            raise StackError(f"{DEPLOYMENTS} was not deployed:\n{self._deploy.end_of_log()}")
        await self._launch(self._bridge)
        while not self._bridge.end_of_log():  # It logs its first line when it is ready.
            await asyncio.sleep(0.1)

    async def _watch(self, part: Part) -> None:
        """Restarts the part when it ends unexpectedly, up to `MAX_FAILURES` times in a row."""
        failures = 0
        while True:
            code = await part.ended()
            since, is_short = datetime.now(UTC), time.monotonic() - part.started < SHORT_LIFE
            # A part that worked for a while may have been killed from outside and may work again.
            failures = 0 if code == -signal.SIGKILL else failures + 1 if is_short else 1
            ended = (
                f"{part.name} ended by itself, code {code}; {part.log} ends:\n{part.end_of_log()}"
            )
            if not (self._ready and part.restarts and failures < MAX_FAILURES):
                raise StackError(ended)
            log_error(ended)
            if part is self._worker:
                await self._end_flow_runs()
                await self._reschedule_unfinished()
            await self._start_part(part)
            log_error(f"{part.name} started again")
            if part is self._prefect and sys.platform == "linux":  # It reads /proc.
                self._watching.create_task(self._reschedule_lost(since))

    async def _stop_worker(self, hurry: asyncio.Event) -> None:
        """Stops the worker and kills its flow runs, so that none of them reports a crash.

        They are scheduled again. Ended by SIGTERM they would be Crashed, and their clips marked as
        failed; a worker that is stopped kills them too, but not what they have started.
        """
        flow_runs = processes.descendants(self._worker.pid) if self._worker.pid else set()
        await self._worker.stop(hurry)
        processes.kill(flow_runs & set(processes.parents()))  # Where orphans are not adopted.
        await self._end_flow_runs()

    async def _reap_orphans(self) -> None:
        """Collects the remaining processes of killed flow runs, such as ffmpeg, when they end."""
        while True:
            async with self._children:
                processes.reap(exclude={part.process.pid for part in self._parts if part.process})
            await asyncio.sleep(REAP_EVERY)

    async def _end_flow_runs(self) -> None:
        """Ends a dead worker's flow runs: the descendants of this process that are not parts."""
        async with self._children:
            pids = [part.pid for part in self._parts if part.pid]
            while left := processes.descendants(os.getpid(), exclude=pids):
                processes.kill(left)
                await asyncio.sleep(0.05)
        self._empty_scratch()

    def _empty_scratch(self) -> None:
        shutil.rmtree(self._settings.scratch, ignore_errors=True)
        self._settings.scratch.mkdir(parents=True, exist_ok=True)

    def _announce(self) -> None:
        say(f"Prefect   {self._settings.prefect_url}")
        say(f"AWS       {self._settings.aws_url}  (S3, DynamoDB, EventBridge, SQS; keys test/test)")
        say(f"bucket    {BUCKET}")
        say(f"table     {TABLE}")
        say(f"logs      {self._settings.logs}")
        say("ready")


@contextmanager
def claimed(settings: StackSettings) -> Iterator[None]:
    """Reserves the resources that only one stack can use: its home folder and its two ports.

    Raises StackError, without waiting, if another stack or program uses any of them.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"{settings.home} is in use by another local stack: stop it, or set CLIPFLOW_HOME"
            ) from None
        _check_port(settings.aws_port, "CLIPFLOW_AWS_PORT")
        _check_port(settings.prefect_port, "CLIPFLOW_PREFECT_PORT")
        yield


def _check_port(port: int, setting: str) -> None:
    """Raises StackError, naming the setting to change, if `port` is not available."""
    with socket.socket() as listener:
        # The servers set this option too, so that connections still closing do not block the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise StackError(
                f"port {port} is taken ({error.strerror}): free it, or set {setting}"
            ) from error


async def supervise(settings: StackSettings) -> int:
    """Runs the stack until SIGINT or SIGTERM and returns the exit code.

    A second signal, a second later or more, shortens the time that the parts have to stop.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if not stop.is_set():
            stop.set()
            # One Ctrl-C may arrive more than once, by way of make and of the terminal.
            loop.call_later(1, lambda: listen(hurry.set))

    def listen(handler: Callable[[], None]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, handler)

    listen(on_signal)
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
        on_signal()
        await supervisor.stop(hurry)
    return 1


def say(line: str) -> None:
    print(line, flush=True)


def log_error(line: str) -> None:
    print(f"clipflow: {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Runs the supervisor; returns its exit code."""
    adopt_orphans()
    try:
        settings = StackSettings()
        env = part_environment(settings, os.environ)
        os.environ.clear()
        os.environ.update(env)
        with claimed(settings):
            return asyncio.run(supervise(settings))
    except ValidationError as error:
        for problem in error.errors():
            log_error(f"{problem['loc'][0]} {problem['msg']}")
    except StackError as error:
        log_error(str(error))
    return 1


if __name__ == "__main__":
    sys.exit(main())
