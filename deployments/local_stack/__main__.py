"""`python -m deployments.local_stack [--with-parent]`: the stack, until SIGINT or SIGTERM.

This process is its guard: it hands signals on to the supervisor, and ends what is left should the
supervisor be killed. With `--with-parent` the stack also stops when the process that started it
ends, or is a make that was interrupted.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from deployments.local_stack import processes
from deployments.local_stack.launch import adopt_orphans, launched

LOOK = 0.1  # seconds between two looks at the supervisor and the parent
LAST_GRACE = 15  # seconds for the parts, told to stop by the kernel, after a killed supervisor


def main() -> int:
    """The supervisor's exit code: 0 after a stop that was asked for, 1 after anything else."""
    asked: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, remember)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored, it was started by nohup
        signal.signal(signal.SIGHUP, remember)

    adopt_orphans()
    parent = Parent() if "--with-parent" in sys.argv[1:] else None
    supervisor = subprocess.Popen(
        launched(sys.executable, "-m", "deployments.local_stack.supervise"),
        start_new_session=True,  # a Ctrl-C reaches the guard alone
    )
    stopping = False
    while supervisor.poll() is None:
        if asked or (not stopping and parent and parent.has_left()):
            asked.clear()
            stopping = True
            supervisor.terminate()
        time.sleep(LOOK)
    _end_what_is_left()
    if supervisor.returncode < 0 and not stopping:
        print("clipflow: the supervisor was killed; the stack has stopped", file=sys.stderr)
    return supervisor.returncode if supervisor.returncode >= 0 else 1 - stopping


def _end_what_is_left() -> None:
    """Nothing, unless the supervisor was killed."""
    deadline = time.monotonic() + LAST_GRACE
    while left := processes.below(os.getpid()):
        if time.monotonic() > deadline:
            processes.kill(left)
        time.sleep(LOOK)


class Parent:
    """The process that started this one."""

    def __init__(self) -> None:
        self._pid = os.getppid()
        self._caught = self._catches()

    def has_left(self) -> bool:
        """Whether it ended, or is a make that was told to.

        An interrupted make does not tell its commands, it waits for them. All that shows is that
        it no longer catches the signal.
        """
        return os.getppid() != self._pid or self._catches() != self._caught

    def _catches(self) -> int:
        """Which signals that mean the end it has handlers for, as bits; 0 if it is no make."""
        proc = Path(f"/proc/{self._pid}")
        try:
            if (proc / "comm").read_text().strip() not in ("make", "gmake"):
                return 0
            status = (proc / "status").read_text()
        except OSError:  # it ended since, or this is no Linux
            return 0
        ends = (1 << signal.SIGINT - 1) | (1 << signal.SIGHUP - 1)
        return int(status.partition("SigCgt:")[2].split()[0], 16) & ends


if __name__ == "__main__":
    sys.exit(main())
