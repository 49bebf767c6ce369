"""Runs a command so that it cannot outlive its parent process: `launch.py PARENT_PID COMMAND...`.

It is a program of its own and imports the standard library alone: what it does must happen between
fork and exec, where a process that has threads can do next to nothing safely.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def bound_command(*command: str) -> list[str]:
    """The command line that runs `command`, to be started by this very process. When this process
    ends, `command` gets SIGTERM."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def adopt_orphans() -> None:
    """Makes orphans below this process its children rather than those of init (Linux only)."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def main(parent: int, command: list[str]) -> None:
    """Replaces this process with `command`."""
    # A shell's `&` and nohup ignore some of these, and exec would pass that on.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # Otherwise it ended before it could be watched.
        os.execvp(command[0], command)


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere nothing happens. Raises OSError if the kernel refuses."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option})")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
