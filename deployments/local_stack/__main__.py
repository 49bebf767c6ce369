"""`python -m deployments.local_stack`: runs the local stack until SIGINT or SIGTERM.

This process is the guard: it passes signals on to the supervisor, and ends the remaining processes
if the supervisor is killed. With `--with-parent`, the stack also stops when the parent process ends
or is a `make` that was interrupted. With `--while-used`, it stops when no command uses it any more.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from deployments.local_stack import processes
from deployments.local_stack.launch import adopt_orphans, bound_command
from deployments.local_stack.running import StackUsers
from deployments.local_stack.stack_settings import StackSettings

POLL_INTERVAL = 0.1  # Seconds.
# Seconds that the parts have to stop after the supervisor was killed; the kernel has sent them
# SIGTERM.
ORPHAN_GRACE = 15


def main() -> int:
    """The supervisor's exit code: 0 after a requested stop, 1 after anything else."""
    received: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, remember)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it.
        signal.signal(signal.SIGHUP, remember)

    adopt_orphans()
    has_reason_to_stop = _stop_condition(sys.argv[1:])
    supervisor = subprocess.Popen(
        bound_command(sys.executable, "-m", "deployments.local_stack.supervisor"),
        start_new_session=True,  # A Ctrl-C reaches the guard alone.
    )
    stopping = False
    while supervisor.poll() is None:
        if received or (not stopping and has_reason_to_stop()):
            received.clear()
            stopping = True
            supervisor.terminate()
        time.sleep(POLL_INTERVAL)
    _kill_remaining()
    if supervisor.returncode < 0 and not stopping:
        print("clipflow: the supervisor was killed; the stack has stopped", file=sys.stderr)
    return supervisor.returncode if supervisor.returncode >= 0 else 1 - stopping


def _stop_condition(options: list[str]) -> Callable[[], bool]:
    if "--with-parent" in options:
        return Parent().has_left
    if "--while-used" in options:
        return StackUsers(StackSettings()).have_left
    return lambda: False


def _kill_remaining() -> None:
    """Waits for the remaining processes of a killed supervisor, and kills them after the grace."""
    deadline = time.monotonic() + ORPHAN_GRACE
    while left := processes.descendants(os.getpid()):
        if time.monotonic() > deadline:
            processes.kill(left)
        time.sleep(POLL_INTERVAL)


class Parent:
    """The process that started this one."""

    def __init__(self) -> None:
        self._pid = os.getppid()
        self._caught = self._caught_signals()

    def has_left(self) -> bool:
        """Whether it has ended, or is a `make` that was interrupted.

        An interrupted `make` does not signal its commands but waits for them. From outside, the
        only visible change is that it no longer catches the signal.
        """
        return os.getppid() != self._pid or self._caught_signals() != self._caught

    def _caught_signals(self) -> int:
        """Which of SIGINT and SIGHUP it handles, as bits; 0 if it is not `make`."""
        proc = Path(f"/proc/{self._pid}")
        try:
            if (proc / "comm").read_text().strip() not in ("make", "gmake"):
                return 0
            status = (proc / "status").read_text()
        except OSError:  # The parent has ended meanwhile, or this is not Linux.
            return 0
        interrupts = (1 << signal.SIGINT - 1) | (1 << signal.SIGHUP - 1)
        return int(status.partition("SigCgt:")[2].split()[0], 16) & interrupts


if __name__ == "__main__":
    sys.exit(main())
