"""A flow that runs until a test ends it."""

import os
import subprocess
import time
from pathlib import Path

from prefect import flow


@flow(name="sleeper")
def sleep_until_ended(folder: str) -> None:
    """Append to the file `starts` in `folder`, and run until there is a file `end` in it.

    Like a run that encodes, it has a child process in a session of its own, whose id it appends,
    and a file in the scratch folder.
    """
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(os.environ["CLIPFLOW_SCRATCH"], "window").touch()
    with Path(folder, "starts").open("a") as starts:
        starts.write(f"{child.pid}\n")
    while not Path(folder, "end").exists():
        time.sleep(0.1)
    child.kill()
    child.wait()
