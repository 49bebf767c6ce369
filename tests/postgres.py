"""A PostgreSQL server for tests, on a loopback port and with its data in a temporary folder."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.programs import eventually, free_port


def programs() -> Path | None:
    """The folder of the newest `initdb` and `postgres`; None if they are not installed."""
    here = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    folders = [*here, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a server and yield its URL in the format of Prefect's database setting.

    `folder` is the folder of the PostgreSQL programs.
    """
    home = Path(tempfile.mkdtemp(prefix="clipflow-postgres-"))
    user = _owner_of(home)
    data, port = str(home / "data"), free_port()
    make = [str(folder / "initdb"), "-D", data, "-U", "prefect", "-A", "trust", "-E", "UTF8"]
    serve = [
        str(folder / "postgres"),
        *("-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(home)),
        *("-c", "fsync=off", "-c", "max_connections=200"),
    ]
    ready = [str(folder / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    try:
        subprocess.run(make, check=True, capture_output=True, **user)
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(serve, stdout=log, stderr=log, **user)
        try:
            eventually(lambda: subprocess.run(ready, check=False).returncode == 0)
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown: open connections are closed
            server.wait(30)
    finally:
        shutil.rmtree(home)


def _owner_of(home: Path) -> dict[str, Any]:
    """The arguments of `subprocess` that select the user of the server.

    PostgreSQL refuses to run as root, so root runs it as `nobody`, which then owns `home`.
    Other users cannot enter the temporary folders of pytest, so `home` is outside them.
    """
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
