"""Functions that find, measure and kill the processes of a local stack."""

import os
import signal
from contextlib import suppress
from pathlib import Path

# The part of the command line that identifies each kind of process.
SERVER, WORKER, BRIDGE, RUN = (
    "local_prefect",
    "local_stack.worker",
    "deployments.bridge",
    "prefect.engine",
)


def processes_of(home: Path) -> dict[int, str]:
    """The command of each process that has this home in its environment."""
    marker = f"CLIPFLOW_HOME={home}".encode()
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # owned by another user, or has ended
            if marker in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = _command(entry)
    return found


def pids(home: Path, part: str) -> list[int]:
    """The ids of the processes of this kind."""
    return [pid for pid, command in processes_of(home).items() if part in command]


def kill(pid: int) -> None:
    """Send SIGKILL unless the process has ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def flow_run_of(pid: int) -> str:
    """The id of the flow run in a process; empty without a run or if the process has ended."""
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if entry.startswith(b"PREFECT__FLOW_RUN_ID="):
                return entry.partition(b"=")[2].decode()
    return ""


def resident_bytes(home: Path) -> int:
    """Resident bytes of all processes of the stack; shared memory counts for each process."""
    page, total = os.sysconf("SC_PAGE_SIZE"), 0
    for pid in processes_of(home):
        with suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
    return total


def _command(process: Path) -> str:
    return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
