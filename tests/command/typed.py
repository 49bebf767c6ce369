"""`clipflow` as a person types it."""

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
# What other tests of this process may have set, and no person's shell has.
_OURS = ("AWS_", "BUCKET_NAME", "COLUMNS", "PREFECT_", "TABLE_NAME")


def typed(
    *arguments: object, folder: Path, env: Mapping[str, str] | None = None, seconds: float = 300
) -> Ended:
    """In a pipe, in `folder`, with the environment's own variables and `env`."""
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
    """The exit code, all that the terminal was sent, and what a pipe got of stdout."""
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
            except OSError:  # it ended, and with it the terminal's other end
                break
        assert process.stdout
        document = process.stdout.read().decode()
    os.close(ours)
    return process.returncode, sent.decode(), document


def shell() -> dict[str, str]:
    """The environment of a person's shell."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
