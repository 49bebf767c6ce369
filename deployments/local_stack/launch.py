"""Runs a command so that it cannot outlive whoever started it: `launch.py PARENT COMMAND...`.

A program of its own, of the standard library alone: what it does must happen between fork and exec,
where a process that has threads can do next to nothing safely.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def launched(*command: str) -> list[str]:
    """`command`, to be started by this very process, at whose end it then gets SIGTERM."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def adopt_orphans() -> None:
    """Processes below this one become its children when their parent ends, not the system's."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def main(parent: int, command: list[str]) -> None:
    """Becomes `command`."""
    # Whoever started the stack with & or nohup had these ignored, and exec would hand that on.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # else it ended before it could be watched
        os.execvp(command[0], command)


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere nothing happens. Raises OSError where the kernel refuses."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option})")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
