"""The processes of the local stack, and the descendants of a process."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from deployments.local_stack.launch import bound_command


@dataclass
class Part:
    """One long-running program of the stack, with its output in a file.

    Attributes:
        command: the arguments of `python`.
        grace: seconds between SIGTERM and SIGKILL.
        hurried_grace: the same after a second signal has arrived.
        restarts: whether the stack starts it again if it ends unexpectedly.
    """

    name: str
    command: list[str]
    log: Path
    grace: float = 15
    hurried_grace: float = 3
    restarts: bool = True
    process: asyncio.subprocess.Process | None = None
    started: float = 0

    async def start(self) -> None:
        """Starts it in a session of its own."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *bound_command(sys.executable, *self.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started = time.monotonic()

    @property
    def pid(self) -> int | None:
        """The process id; None if it is not running."""
        running = self.process and self.process.returncode is None
        return self.process.pid if self.process and running else None

    async def ended(self) -> int:
        """Waits for its end; returns its exit code."""
        assert self.process
        return await self.process.wait()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Sends SIGTERM, and SIGKILL after the grace."""
        if not self.process or not self.pid:
            return
        self.process.terminate()
        ended = asyncio.create_task(self.process.wait())
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({ended, hurried}, timeout=self.grace, return_when="FIRST_COMPLETED")
        if hurry.is_set():
            await asyncio.wait({ended}, timeout=self.hurried_grace)
        hurried.cancel()
        if not ended.done():
            self.process.kill()
        await ended

    def end_of_log(self, lines: int = 20) -> str:
        """The last lines of its output; empty if it has printed nothing yet."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 16_384))
            return b"\n".join(log.read().splitlines()[-lines:]).decode(errors="replace")


def rotate(log: Path) -> None:
    """Moves the last run's output to `NAME.log.1` and begins an empty log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    log.touch()


def descendants(root: int, exclude: Iterable[int] = ()) -> set[int]:
    """The descendants of the process `root`, without those in `exclude` and their descendants."""
    children: dict[int, set[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, set()).add(pid)
    found: set[int] = set()
    ahead = [root]
    while ahead:
        new = children.get(ahead.pop(), set()) - found - set(exclude)
        found |= new
        ahead += new
    return found


def parents() -> dict[int, int]:
    """The parent's pid of every running process."""
    if Path("/proc/self/stat").exists():
        return dict(_from_proc())
    # macOS has no /proc, and a slim Linux image has no `ps`, so both are supported.
    listing = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, check=True)
    rows = (line.split() for line in listing.stdout.splitlines())
    return {int(pid): int(parent) for pid, parent in rows}


def _from_proc() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # The process has ended meanwhile.
                # These fields follow the name, which is in parentheses and may contain anything.
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    yield int(entry.name), int(parent)


def reap(exclude: Iterable[int]) -> None:
    """Collects the exit status of ended children, which would otherwise remain as zombies.

    Children in `exclude` are left to the code that waits for them.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in exclude:
            return
        os.waitpid(ended.si_pid, 0)


def kill(pids: Iterable[int]) -> None:
    """Sends SIGKILL to each process that is still running."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def wait_until_healthy(url: str) -> None:
    """Returns once `url` answers with success."""
    async with httpx.AsyncClient(timeout=5) as client:
        while True:
            with suppress(httpx.TransportError):
                if (await client.get(url)).is_success:
                    return
            await asyncio.sleep(0.1)
