"""What a running stack has to itself: its home and its two ports."""

import fcntl
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from deployments.local_stack.errors import StackError
from deployments.local_stack.settings import HOST, StackSettings


@contextmanager
def claimed(settings: StackSettings) -> Iterator[None]:
    """Raises StackError, at once, where another stack or program has any of them."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"{settings.home} is in use by another local stack: stop it, or set CLIPFLOW_HOME"
            ) from None
        check_port(settings.aws_port, "CLIPFLOW_AWS_PORT")
        check_port(settings.prefect_port, "CLIPFLOW_PREFECT_PORT")
        yield


def check_port(port: int, setting: str) -> None:
    """Raises StackError where `port` cannot be listened on, naming the setting that changes it."""
    with socket.socket() as probe:
        # As the servers do: a connection of the last run that is still closing is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise StackError(
                f"port {port} is taken ({error.strerror}): free it, or set {setting}"
            ) from error
