"""Runs the command `clipflow` as a user does, with output to a pipe or to a terminal."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sysconfig
import termios
from collections.abc import Mapping
from pathlib import Path

CLIPFLOW = str(Path(sysconfig.get_path("scripts"), "clipflow"))
CompletedCommand = subprocess.CompletedProcess[str]
# Prefixes of variables that tests set in this process and that are not set in a user's shell.
_TEST_VARIABLES = ("AWS_", "BUCKET_NAME", "COLUMNS", "PREFECT_", "TABLE_NAME")


def run_clipflow(
    *arguments: object, folder: Path, env: Mapping[str, str] | None = None, seconds: float = 300
) -> CompletedCommand:
    """Run `clipflow` in `folder`, with its output to pipes, a user's environment, and `env`."""
    return subprocess.run(
        [CLIPFLOW, *map(str, arguments)],
        cwd=folder,
        env={**user_environment(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def run_in_terminal(
    *arguments: object, folder: Path, env: Mapping[str, str], columns: int
) -> tuple[int, str, str]:
    """Run `clipflow` with stdin and stderr in a terminal, and stdout to a pipe.

    Returns the exit code, the output in the terminal, and the output to the pipe.
    """
    terminal, child_side = pty.openpty()
    fcntl.ioctl(child_side, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    with subprocess.Popen(
        [CLIPFLOW, *map(str, arguments)],
        cwd=folder,
        env={**user_environment(), **env, "TERM": "xterm-256color"},
        stdin=child_side,
        stdout=subprocess.PIPE,
        stderr=child_side,
    ) as process:
        os.close(child_side)
        shown = b""
        while select.select([terminal], [], [], 300)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # the process ended and closed the other end of the terminal
                break
        assert process.stdout
        document = process.stdout.read().decode()
    os.close(terminal)
    return process.returncode, shown.decode(), document


def user_environment() -> dict[str, str]:
    """The environment of this process without the variables that tests set."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(_TEST_VARIABLES)
    }
