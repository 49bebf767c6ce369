"""Runs a command so that it cannot outlive its parent process: `launch.py PARENT_PID COMMAND...`.

It is a separate program that imports only the standard library, because its work has to be done
between fork and exec, when a process with threads can safely do almost nothing.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def bound_command(*command: str) -> list[str]:
    """The command line that runs `command` as a child of this process. When this process ends,
    `command` gets SIGTERM."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def adopt_orphans() -> None:
    """Makes this process, instead of init, the parent of its orphaned descendants (Linux only)."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def main(parent: int, command: list[str]) -> None:
    """Replaces this process with `command`."""
    # A shell's `&` and nohup ignore some of these signals, and exec would preserve that.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # Otherwise it ended before it could be watched.
        os.execvp(command[0], command)


def _prctl(option: int, value: int) -> None:
    """Calls prctl on Linux; does nothing elsewhere. Raises OSError if the call fails."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option})")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
