"""Starts the parts in order, watches them, and stops them in the opposite order."""

import asyncio
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from deployments.local_stack import data_stack, lost_runs, processes
from deployments.local_stack.errors import StackError
from deployments.local_stack.lost_runs import answers
from deployments.local_stack.processes import Part
from deployments.local_stack.settings import BUCKET, TABLE, WORK_POOL, StackSettings

DEPLOYMENTS = Path(__file__).parents[2] / "prefect.yaml"
START_SECONDS = 180  # the very first start makes the Prefect database
QUICK = 20  # seconds: a part that ended sooner has not worked
REAP_EVERY = 5  # seconds
ENDS = 3  # how often in a row before the stack gives up


class Supervisor:
    """One run of the stack."""

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._ready = False
        self._watching = asyncio.TaskGroup()
        # A part that is being started must not be taken for what a flow run has left behind.
        self._children = asyncio.Lock()
        # Without its memory the stack cannot go on; and it must have the time to save it.
        self._aws = self._part("aws", "deployments.local_stack.local_aws")
        self._aws.grace, self._aws.hurried_grace, self._aws.restarts = 60, 20, False
        self._prefect = self._part("prefect", "deployments.local_stack.local_prefect")
        self._deploy = self._part("deploy", "prefect --no-prompt deploy --all")
        self._deploy.command += ["--prefect-file", str(DEPLOYMENTS)]
        worker = f"prefect --no-prompt worker start --type process --pool {WORK_POOL}"
        self._worker = self._part("worker", f"{worker} --name {WORK_POOL}")
        self._bridge = self._part("bridge", "deployments.bridge")
        self._parts = (self._aws, self._prefect, self._deploy, self._worker, self._bridge)

    def _part(self, name: str, module: str) -> Part:
        return Part(name, ["-m", *module.split()], self._settings.logs / f"{name}.log")

    async def run(self) -> None:
        """Until it is cancelled. Raises StackError when it cannot come up or go on."""
        try:
            async with self._watching:
                async with asyncio.timeout(START_SECONDS):
                    await self._start()
                self._ready = True
                if sys.platform == "linux":  # elsewhere nobody adopts them
                    self._watching.create_task(self._bury_orphans())
                self._announce()
        except* StackError as errors:
            raise errors.exceptions[0] from None
        except* TimeoutError:
            raise StackError(f"not ready in {START_SECONDS} s: see {self._settings.logs}") from None

    async def stop(self, hurry: asyncio.Event) -> None:
        """Ends whatever this process started; what was being made is made at the next start."""
        await self._bridge.stop(hurry)
        await self._deploy.stop(hurry)
        await self._stop_worker(hurry)
        with suppress(Exception):  # the server may be away; the next start does it too
            async with asyncio.timeout(5):
                await self._take_back()
        await self._prefect.stop(hurry)
        await self._aws.stop(hurry)
        processes.kill(processes.below(os.getpid()))

    async def _start(self) -> None:
        await self._launch(self._aws)
        await self._launch(self._prefect)
        await asyncio.gather(self._set_up_aws(), self._set_up_prefect())
        self._empty_scratch()
        since = datetime.now(UTC)
        await self._launch(self._worker)
        await asyncio.gather(self._worker_polls(since), self._deploy_and_listen())

    async def _launch(self, part: Part) -> None:
        processes.rotate(part.log)
        await self._begin(part)
        self._watching.create_task(self._watch(part))

    async def _begin(self, part: Part) -> None:
        async with self._children:
            await part.start()

    async def _set_up_aws(self) -> None:
        await answers(f"{self._settings.aws_url}/_ministack/ready")
        await asyncio.to_thread(data_stack.deploy, self._settings.aws_url)

    async def _set_up_prefect(self) -> None:
        # Imported while the server starts: it takes as long as all of the rest here.
        from deployments.local_stack import work_pool

        await answers(f"{self._settings.prefect_url}/api/health")
        await work_pool.create(WORK_POOL)
        await self._take_back()

    async def _take_back(self) -> None:
        if taken := await lost_runs.take_back(self._settings.prefect_url):
            say(f"{taken} unfinished flow runs start again with the next worker")

    async def _take_back_the_dead(self, since: datetime) -> None:
        if taken := await lost_runs.take_back_the_dead(self._settings.prefect_url, since):
            say(f"{taken} flow runs that ended while Prefect was away start again")

    async def _worker_polls(self, since: datetime) -> None:
        from deployments.local_stack import work_pool

        await work_pool.polled(WORK_POOL, since)

    async def _deploy_and_listen(self) -> None:
        """The bridge comes last: an event posted before its trigger is there starts nothing."""
        processes.rotate(self._deploy.log)
        await self._begin(self._deploy)
        if await self._deploy.ended() != 0:
            raise StackError(f"{DEPLOYMENTS} was not deployed:\n{self._deploy.end_of_log()}")
        await self._launch(self._bridge)
        while not self._bridge.end_of_log():  # it speaks once it is at work
            await asyncio.sleep(0.1)

    async def _watch(self, part: Part) -> None:
        """Starts the part again whenever it ends by itself, while that makes sense."""
        in_a_row = 0
        while True:
            code = await part.ended()
            since, quick = datetime.now(UTC), time.monotonic() - part.started < QUICK
            # What somebody else has killed might work as well as before.
            in_a_row = 0 if code == -signal.SIGKILL else in_a_row + 1 if quick else 1
            ended = (
                f"{part.name} ended by itself, code {code}; {part.log} ends:\n{part.end_of_log()}"
            )
            if not (self._ready and part.restarts and in_a_row < ENDS):
                raise StackError(ended)
            complain(ended)
            if part is self._worker:
                await self._end_flow_runs()
                await self._take_back()
            await self._begin(part)
            complain(f"{part.name} started again")
            if part is self._prefect and sys.platform == "linux":  # elsewhere nobody can tell
                self._watching.create_task(self._take_back_the_dead(since))

    async def _stop_worker(self, hurry: asyncio.Event) -> None:
        """And its flow runs, by SIGKILL, so that none of them still reports a crash.

        They are scheduled again. Had they been asked to end they would be Crashed, and their clips
        marked as failed; the worker told to stop kills them too, but not what they have started.
        """
        flow_runs = processes.below(self._worker.pid) if self._worker.pid else set()
        await self._worker.stop(hurry)
        processes.kill(flow_runs & set(processes.parents()))  # where nobody adopts orphans
        await self._end_flow_runs()

    async def _bury_orphans(self) -> None:
        """What a killed flow run leaves, ffmpeg above all, ends as a child of this process."""
        while True:
            async with self._children:
                processes.reap(but={part.process.pid for part in self._parts if part.process})
            await asyncio.sleep(REAP_EVERY)

    async def _end_flow_runs(self) -> None:
        """Of a worker that is no more: what runs below this process and is no part of the stack."""
        async with self._children:
            pids = [part.pid for part in self._parts if part.pid]
            while left := processes.below(os.getpid(), but=pids):
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


def say(line: str) -> None:
    print(line, flush=True)


def complain(line: str) -> None:
    print(f"clipflow: {line}", file=sys.stderr, flush=True)
