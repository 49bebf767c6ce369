"""`python -m deployments.local_stack.run_server`: starts flow runs in 0.1 s. Linux only.

A new Python process needs 2.5 s of a core to import Prefect and the flows. This process has already
imported them and forks a process for each `run_client.py` that connects to the socket. It opens no
connections and starts no threads, because a fork would inherit or lose them.

The forked process is a child of init or of the supervisor, so its run continues if this process
ends.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path

from prefect.settings import Settings, get_current_settings

import flows
from clipflow.media.isolation import fork_server_ahead
from clipflow.storage.aws import load_service_models
from deployments.local_stack.run_client import ACCEPTED, ADDRESS

# The modules that Prefect imports only when a run starts.
_PREFECT = (
    "prefect.deployments",
    "prefect.flow_engine",
    "prefect.runner.storage",
    "prefect.task_engine",
    "prefect.workers.process",
)
_SECONDS_TO_REQUEST = 10


def main() -> int:
    """Serves until a signal ends it; in a forked process, returns the exit code of the run."""
    for module in pkgutil.iter_modules(flows.__path__):
        importlib.import_module(f"flows.{module.name}")
    for name in _PREFECT:
        importlib.import_module(name)
    load_service_models()
    Path(os.environ[ADDRESS]).unlink(missing_ok=True)
    if threading.active_count() > 1:
        # A fork would lose them. Tracing, for example, exports spans from a thread of its own.
        print(f"No run is forked, because there are threads: {threading.enumerate()}", flush=True)
        signal.pause()
    gc.collect()
    gc.freeze()  # Otherwise the collector writes to memory that forks share, which copies it.
    with socket.socket(socket.AF_UNIX) as listener:
        address = Path(os.environ[ADDRESS])
        listener.bind(str(address))
        address.chmod(0o600)
        listener.listen(128)
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            if child := os.fork():
                connection.close()
                os.waitpid(child, 0)
            elif os.fork():
                os._exit(0)
            else:
                break
    return _serve(connection)


def _serve(connection: socket.socket) -> int:
    """Executes one run in this process; returns its exit code, which is also sent to the client.

    The connection stays open until this process ends, and the client ends when it is closed.
    """
    connection.settimeout(_SECONDS_TO_REQUEST)
    size, files, _, _ = socket.recv_fds(connection, 4, 3)
    request = json.loads(_receive(connection, int.from_bytes(size)))
    if not _adopt(request["environment"]):
        os._exit(0)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    connection.settimeout(None)
    fork_server_ahead()
    connection.send(ACCEPTED)
    threading.Thread(target=_forward_signals, args=(connection,), daemon=True).start()
    code = _execute(request["module"])
    connection.send(bytes([code]))
    return code


def _adopt(environment: Mapping[str, str]) -> bool:
    """Adopts a run's environment; returns whether the imported modules are valid in it.

    Variables of a run that belong to Prefect are read when the run starts, so they may differ. Any
    other variable may have been read while modules were imported, so it must be the same.
    """
    if _others(environment) != _others(os.environ):
        return False
    same_settings = _prefect_settings(environment) == _prefect_settings(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    # Reading the settings takes 40 ms, and a difference in the variables need not be one in them.
    return same_settings or Settings() == get_current_settings()


def _others(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("PREFECT_")}


def _prefect_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of Prefect's settings; those with two underscores describe the run."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PREFECT_") and not name.startswith("PREFECT__")
    }


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise EOFError("The client ended before it had sent its request.")
        received += part
    return received


def _forward_signals(connection: socket.socket) -> None:
    """Forwards signals from the client, and kills this process when the client ends."""
    while signals := connection.recv(1):
        signal.pthread_kill(threading.main_thread().ident or 0, signals[0])
    os.kill(os.getpid(), signal.SIGKILL)


def _execute(module: str) -> int:
    """Runs `python -m MODULE` in this process; returns its exit code."""
    sys.argv = [module]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - as Python itself does at the end of a program
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
