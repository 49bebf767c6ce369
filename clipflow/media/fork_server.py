"""The process that forks a process for each call of `clipflow.media.isolation`.

It has no threads and no connections, so forking it is safe, unlike forking a run. What a call needs
is imported before the fork, and shared by all later ones.
"""

import gc
import importlib
import io
import logging
import os
import pickle
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Hashable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from select import select
from struct import Struct
from threading import Lock
from typing import Any, NoReturn

from clipflow.media.ranges import BLOCK_CACHE
from clipflow.media.source_errors import source_errors
from clipflow.telemetry.progress import reporting_to

# The exit code of a process, as `os.waitstatus_to_exitcode` gives it.
EXIT_CODE = Struct("=i")
ACCEPTED = b"\0"
# Bytes: the longest name of a module.
LONGEST_NAME = 256


@dataclass(frozen=True)
class Call:
    """The caller is to call the callable of this number among the arguments, and send what it
    returns."""

    number: int
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Hold:
    """The caller is to lock an object's blocks, and send those that it has from `number` on."""

    identity: Hashable
    number: int


@dataclass(frozen=True)
class Release:
    """The caller is to keep `blocks`, by their numbers, and unlock the object's blocks."""

    identity: Hashable
    blocks: Mapping[int, bytes]


@dataclass(frozen=True)
class Progress:
    """A share of the work, from 0 to 1."""

    fraction: float


@dataclass(frozen=True)
class Logged:
    record: logging.LogRecord


@dataclass(frozen=True)
class Returned:
    """The end of a call: `value`, or what it raised."""

    value: Any
    error: BaseException | None
    cpu_seconds: float


class _Child:
    """The connection of a forked process to the caller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Log lines may come from several threads.
        self._lock = Lock()

    def serve(self) -> None:
        """Make one call, and send what it returns or raises."""
        value, error = None, None
        try:
            name, function, arguments, keywords, level, is_observed = self._request()
            logging.basicConfig(level=level, handlers=[_Forwarding(self)], force=True)
            BLOCK_CACHE.owner = self
            observer = reporting_to(lambda fraction: self._send(Progress(fraction)))
            with source_errors(name), observer if is_observed else nullcontext():
                value = function(*arguments, **keywords)
        except Exception as raised:  # noqa: BLE001 - the caller decides what to do about it
            error = _portable(raised)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._send(Returned(value, error, usage.ru_utime + usage.ru_stime))

    def hold(self, identity: Hashable, number: int) -> list[bytes]:
        blocks: list[bytes] = self._exchange(Hold(identity, number))
        return blocks

    def release(self, identity: Hashable, blocks: Mapping[int, bytes]) -> None:
        self._send(Release(identity, blocks))

    def log(self, record: logging.LogRecord) -> None:
        self._send(Logged(record))

    def callback(self, number: int) -> Callable[..., Any]:
        return lambda *arguments: self._exchange(Call(number, arguments))

    def _request(self) -> Any:
        return _Unpickler(self._connection.recv_bytes(), self).load()

    def _exchange(self, message: Any) -> Any:
        self._send(message)
        return self._connection.recv()

    def _send(self, message: Any) -> None:
        with self._lock:
            self._connection.send(message)


class _Unpickler(pickle.Unpickler):
    """Callables that cannot be pickled are numbers, and are called by the caller."""

    def __init__(self, content: bytes, child: _Child) -> None:
        super().__init__(io.BytesIO(content))
        self._child = child

    def persistent_load(self, number: Any) -> Callable[..., Any]:
        return self._child.callback(number)


class _Forwarding(logging.Handler):
    """Sends log records to the caller, whose own handlers write them."""

    def __init__(self, child: _Child) -> None:
        super().__init__()
        self._child = child

    def emit(self, record: logging.LogRecord) -> None:
        # Arguments and errors may not be picklable, so they become text here.
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        self._child.log(record)


def _portable(error: Exception) -> Exception:
    """The error, or one with its text if it cannot be sent to another process."""
    error.add_note("".join(traceback.format_tb(error.__traceback__)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - an error of any kind may fail to be pickled in any way
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def serve(descriptor: int) -> NoReturn:
    """Fork a process for each request that comes by the socket `descriptor`, until it is closed.

    A request is the name of a module with two sockets: that of the call, and one by which the exit
    code is sent. A process whose second socket is closed at the other end is killed.
    """
    requests = socket.socket(fileno=descriptor)
    # Ctrl-C is for the caller, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    awake, waking = socket.socketpair()
    awake.setblocking(False)
    waking.setblocking(False)
    signal.set_wakeup_fd(waking.fileno())
    children: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select([requests, awake, *children.values()], [], [])
        if awake in ready:
            awake.recv(1024)
            _reap(children)
        for pid, ended in children.items():
            if ended in ready:
                os.kill(pid, signal.SIGKILL)
        if requests in ready and not _accept(requests, children):
            break
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os._exit(0)


def _reap(children: dict[int, socket.socket]) -> None:
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            with children.pop(pid) as ended, suppress(OSError):
                ended.send(EXIT_CODE.pack(os.waitstatus_to_exitcode(status)))


def _accept(requests: socket.socket, children: dict[int, socket.socket]) -> bool:
    """Fork a process for the next request; False if there will be none."""
    name, files, _, _ = socket.recv_fds(requests, LONGEST_NAME, 2)
    if not name:
        return False
    if name.decode() not in sys.modules:
        # If it cannot be imported, the forked process raises the error.
        with suppress(ImportError):
            importlib.import_module(name.decode())
        gc.collect()
        gc.freeze()  # Otherwise the collector writes to memory that forks share, which copies it.
    call, ended = (socket.socket(fileno=number) for number in files)
    pid = os.fork()
    if not pid:
        _work(call, [requests, ended, *children.values()])
    call.close()
    children[pid] = ended
    requests.send(ACCEPTED)
    return True


def _work(call: socket.socket, others: list[socket.socket]) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in others:
            other.close()
        with suppress(OSError, EOFError):
            # A caller that has ended wants no answer.
            _Child(Connection(call.detach())).serve()
    finally:
        os._exit(0)
