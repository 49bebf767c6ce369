"""Running `clipflow` as a user does, in a pipe or a terminal."""

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
Ended = subprocess.CompletedProcess[str]
# Variables that other tests of this process may have set and that a user's shell lacks.
_OURS = ("AWS_", "BUCKET_NAME", "COLUMNS", "PREFECT_", "TABLE_NAME")


def typed(
    *arguments: object, folder: Path, env: Mapping[str, str] | None = None, seconds: float = 300
) -> Ended:
    """Run it with piped output in `folder`, with this environment's variables and `env`."""
    return subprocess.run(
        [CLIPFLOW, *map(str, arguments)],
        cwd=folder,
        env={**shell(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def typed_in_terminal(
    *arguments: object, folder: Path, env: Mapping[str, str], columns: int
) -> tuple[int, str, str]:
    """Run it in a terminal; return the exit code, the terminal's output, and piped stdout."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    with subprocess.Popen(
        [CLIPFLOW, *map(str, arguments)],
        cwd=folder,
        env={**shell(), **env, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        sent = b""
        while select.select([ours], [], [], 300)[0]:
            try:
                sent += os.read(ours, 65536)
            except OSError:  # the process ended and closed the other end of the terminal
                break
        assert process.stdout
        document = process.stdout.read().decode()
    os.close(ours)
    return process.returncode, sent.decode(), document


def shell() -> dict[str, str]:
    """The environment of a user's shell."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
