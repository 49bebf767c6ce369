"""Runs a flow run in a process that the run server forks: `run_client.py COMMAND...`.

Prefect's worker starts this program in place of COMMAND and sees the same behaviour: the program
has the run's environment and output, passes signals on, and ends with the run's exit code, and the
run ends if the program does. If there is no run server, or it refuses, the program executes
COMMAND.

It imports only the standard library, because it is started for each run.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

# Names the server's socket; without it there is no server.
ADDRESS = "CLIPFLOW_RUN_SERVER"
# What the server answers: the run is started here, or has to be started by its command.
ACCEPTED = b"A"
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_SECONDS_TO_ANSWER = 10


def client_command(command: list[str]) -> list[str]:
    """The command line that runs a flow run as `command` would: `python -m MODULE`."""
    return [sys.executable, "-I", "-S", __file__, *command]


def main(command: list[str]) -> None:
    """Ends this process with the run's exit code, or replaces it with `command`."""
    # Blocked signals stay pending until the run exists and they can be forwarded to it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    connection = _start_run(command)
    if connection is None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        os.execvp(command[0], command)
    for number in _FORWARDED:
        signal.signal(number, lambda number, _frame: connection.send(bytes([number])))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    code = connection.recv(1)
    if not code:  # The run's process was killed.
        os.kill(os.getpid(), signal.SIGKILL)
    connection.recv(1)  # Returns when the process has ended, which closes the connection.
    # Skips the interpreter's cleanup, which is not needed and would double the time.
    os._exit(code[0])


def _start_run(command: list[str]) -> socket.socket | None:
    """The connection to the process of the run, once it has started; None if there is none."""
    request = json.dumps(
        {"module": command[-1], "folder": str(Path.cwd()), "environment": dict(os.environ)}
    ).encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_SECONDS_TO_ANSWER)
    try:
        connection.connect(os.environ.get(ADDRESS, ""))
        socket.send_fds(connection, [len(request).to_bytes(4)], [0, 1, 2])
        connection.sendall(request)
        if connection.recv(1) == ACCEPTED:
            connection.settimeout(None)
            return connection
    except OSError:
        pass
    connection.close()
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
