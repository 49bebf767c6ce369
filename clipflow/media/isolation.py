"""Calls that decode sources, each in a process of its own.

Some malformed sources make a decoder abort or corrupt memory. Only that process then ends, and the
source is refused; the run continues.
"""

import atexit
import io
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection
from threading import Lock
from types import BuiltinFunctionType, MethodType
from typing import Any, ParamSpec, TypeVar

from clipflow.domain.errors import ClipflowError, MediaInterruptedError, MediaRefusedError
from clipflow.media.fork_server import (
    ACCEPTED,
    EXIT_CODE,
    Call,
    Hold,
    Logged,
    Progress,
    Release,
    Returned,
    serve,
)
from clipflow.media.ranges import BLOCK_CACHE
from clipflow.telemetry.progress import is_observed, report
from clipflow.telemetry.tracing import add_cpu_seconds

P = ParamSpec("P")
R = TypeVar("R")

# Seconds after which a thread that waits for a process checks whether it was cancelled.
_POLL_SECONDS = 0.05
# Seconds to start a process, which takes half a second of an idle core, and to get its exit code.
_START_SECONDS, _END_SECONDS = 120.0, 10.0
# Signals that are caused by a process itself and not by another one.
CRASH_SIGNALS = (
    *(signal.SIGABRT, signal.SIGBUS, signal.SIGFPE),
    *(signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP),
)


def isolated(name: str, function: Callable[P, R], /, *arguments: P.args, **keywords: P.kwargs) -> R:
    """What `function` returns in a process of its own; the source `name` is for messages.

    `function` must be importable. Arguments, result and errors are pickled. Functions among the
    arguments that are not importable, such as one that reads an object, are called in this process
    and thread. Progress and log records are handled here too. If this thread is interrupted, the
    process is killed.

    Raises what `function` raises, errors of PyAV as `source_errors` translates them,
    MediaRefusedError if the process crashes, and MediaInterruptedError if it is killed from
    outside, for example because memory is short.
    """
    if BLOCK_CACHE.owner is not None:
        # This is such a process already.
        return function(*arguments, **keywords)
    with ExitStack() as stack:
        connection, ended = _SERVER.fork(function.__module__, stack)
        callbacks = _send_request(connection, name, function, arguments, keywords)
        try:
            returned = _served(connection, callbacks)
        except (EOFError, ConnectionError):
            raise _death(name, ended) from None
    add_cpu_seconds(returned.cpu_seconds)
    _SERVER.cpu_seconds += returned.cpu_seconds
    if returned.error is not None:
        raise returned.error
    value: R = returned.value
    return value


def isolated_cpu_seconds() -> float:
    """CPU time of all calls of this process that have ended. As the fork server still runs, the
    system does not count it among that of this process's children."""
    return _SERVER.cpu_seconds


def fork_server_ahead() -> None:
    """Fork the fork server from this process, which has imported what calls need.

    This saves the start of a Python interpreter, 0.4 s of CPU time. Call it only in a process
    without threads.
    """
    _SERVER.fork_ahead()


def _send_request(connection: Connection, *request: Any) -> list[Callable[..., Any]]:
    """Send the call; returns the callables that the process may call, by their numbers."""
    file = io.BytesIO()
    pickler = _Pickler(file)
    level = logging.getLogger().getEffectiveLevel()
    pickler.dump((*request, level, is_observed()))
    connection.send_bytes(file.getbuffer())
    return pickler.callables


class _Pickler(pickle.Pickler):
    """Replaces callables that are not found by a module's name with numbers."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.callables: list[Callable[..., Any]] = []

    def persistent_id(self, value: Any) -> int | None:
        if not callable(value) or isinstance(value, type | BuiltinFunctionType):
            return None
        # `<` is in the names of lambdas and of functions in functions; a partial has none.
        is_named = "<" not in getattr(value, "__qualname__", "<")
        if is_named and not isinstance(value, MethodType):
            return None
        self.callables.append(value)
        return len(self.callables) - 1


def _served(connection: Connection, callables: list[Callable[..., Any]]) -> Returned:
    """What the process returns. Until then, its requests are answered.

    What a callable raises is raised here, and ends the call.
    """
    with ExitStack() as held:
        while True:
            # A thread is cancelled by an exception, which is raised between two steps of Python.
            while not connection.poll(_POLL_SECONDS):
                pass
            match connection.recv():
                case Call(number, arguments):
                    connection.send(callables[number](*arguments))
                case Hold(identity, number):
                    held.enter_context(BLOCK_CACHE.lock(identity))
                    connection.send(BLOCK_CACHE.blocks_from(identity, number))
                case Release(identity, blocks):
                    for number, block in blocks.items():
                        BLOCK_CACHE.put(identity, number, block)
                    held.close()
                case Progress(fraction):
                    report(fraction)
                case Logged(record):
                    log = logging.getLogger(record.name)
                    if log.isEnabledFor(record.levelno):
                        log.handle(record)
                case Returned() as returned:
                    return returned


def _death(name: str, ended: socket.socket) -> ClipflowError:
    """The error for a process that ended without an answer."""
    try:
        ended.settimeout(_END_SECONDS)
        code = EXIT_CODE.unpack(ended.recv(EXIT_CODE.size))[0]
    except (OSError, EOFError, ValueError):
        code = None
    how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
    if code is not None and -code in CRASH_SIGNALS:
        return MediaRefusedError(
            f"{name}: the decoder crashed ({how}).",
            "Its content makes libavcodec fail: re-encode it with another program.",
        )
    return MediaInterruptedError(
        f"{name}: the process that decoded it was stopped from outside ({how}).",
        "The run retries it; if the error persists, give the worker more memory.",
    )


class _ForkServer:
    """Starts the fork server of this process when it is first needed, or has ended."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: socket.socket | None = None
        self._owner = 0
        self.cpu_seconds = 0.0
        # Waits for the end of the fork server's process.
        self._wait: Callable[[], object] = lambda: None

    def fork_ahead(self) -> None:
        with self._open() as far:
            if pid := os.fork():
                self._wait = partial(os.waitpid, pid, 0)
                return
            try:
                os.setpgid(0, 0)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.closerange(3, far.fileno())
                os.closerange(far.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
                serve(far.fileno())
            finally:
                os._exit(1)

    def fork(self, module: str, stack: ExitStack) -> tuple[Connection, socket.socket]:
        """Connections to a new process: for the call, and for its exit code.

        They are closed with `stack`, which kills the process.
        """
        call, far_call = socket.socketpair()
        ended, far_ended = socket.socketpair()
        with far_call, far_ended:
            connection = stack.enter_context(Connection(call.detach()))
            stack.enter_context(ended)
            files = [far_call.fileno(), far_ended.fileno()]
            with self._lock:
                try:
                    self._request(module, files)
                except OSError:
                    self.stop()
                    self._request(module, files)
        return connection, ended

    def _request(self, module: str, files: list[int]) -> None:
        if self._requests is None or self._owner != os.getpid():
            self._start()
        assert self._requests
        socket.send_fds(self._requests, [module.encode()], files)
        if self._requests.recv(len(ACCEPTED)) != ACCEPTED:
            raise ConnectionError

    def _start(self) -> None:
        with self._open() as far:
            program = (
                f"import sys; sys.path[:] = {sys.path!r}; "
                f"from clipflow.media.fork_server import serve; serve({far.fileno()})"
            )
            # A process group of its own: Ctrl-C is for this process, which then stops the other.
            process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                pass_fds=[far.fileno()],
                process_group=0,
            )
            self._wait = process.wait

    def _open(self) -> socket.socket:
        """Open the connection to a new fork server; returns the server's end."""
        self._requests, far = socket.socketpair()
        self._requests.settimeout(_START_SECONDS)
        self._owner = os.getpid()
        return far

    def stop(self) -> None:
        """End the fork server, and with it all processes that it has forked."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._owner == os.getpid():
            self._wait()
        self._wait = lambda: None


_SERVER = _ForkServer()
atexit.register(_SERVER.stop)
