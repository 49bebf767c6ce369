"""The parts of the stack, and whatever else runs below a process."""

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

from deployments.local_stack.launch import launched


@dataclass
class Part:
    """One long-running program of the stack, its output in a file.

    Attributes:
        command: what `python` is told.
        grace: seconds between SIGTERM and SIGKILL.
        hurried_grace: the same, once somebody hurries.
        restarts: whether the stack can go on with a new one when it ends by itself.
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
        """In a session of its own."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *launched(sys.executable, *self.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started = time.monotonic()

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        running = self.process and self.process.returncode is None
        return self.process.pid if self.process and running else None

    async def ended(self) -> int:
        """Its exit code, once it has one."""
        assert self.process
        return await self.process.wait()

    async def stop(self, hurry: asyncio.Event) -> None:
        """SIGTERM, and SIGKILL after the grace."""
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
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 16_384))
            return b"\n".join(log.read().splitlines()[-lines:]).decode(errors="replace")


def rotate(log: Path) -> None:
    """The last run's output becomes `NAME.log.1`; this one's begins empty."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    log.touch()


def below(root: int, but: Iterable[int] = ()) -> set[int]:
    """The processes below `root`, without those in `but` and what is below them."""
    children: dict[int, set[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, set()).add(pid)
    found: set[int] = set()
    ahead = [root]
    while ahead:
        new = children.get(ahead.pop(), set()) - found - set(but)
        found |= new
        ahead += new
    return found


def parents() -> dict[int, int]:
    """Of every process that runs, its parent's pid."""
    if Path("/proc/self/stat").exists():
        return dict(_from_proc())
    # macOS has no /proc, and a slim Linux image no ps.
    listing = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, check=True)
    rows = (line.split() for line in listing.stdout.splitlines())
    return {int(pid): int(parent) for pid, parent in rows}


def _from_proc() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ended since
                # Behind the name, which is in parentheses and may hold anything.
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    yield int(entry.name), int(parent)


def reap(but: Iterable[int]) -> None:
    """Takes note of the end of each child but these, which would stay on as a zombie otherwise."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in but:
            return
        os.waitpid(ended.si_pid, 0)


def kill(pids: Iterable[int]) -> None:
    """SIGKILL to each that still runs."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
