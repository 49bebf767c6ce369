"""A flow that runs until a test ends it."""

import os
import subprocess
import time
from pathlib import Path

from prefect import flow


@flow(name="sleeper")
def sleep_until_ended(notes: str) -> None:
    """Note each start; run until `notes` has a file `end`. Its child stands for an ffmpeg."""
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(os.environ["CLIPFLOW_SCRATCH"], "window").touch()
    with Path(notes, "starts").open("a") as starts:
        starts.write(f"{child.pid}\n")
    while not Path(notes, "end").exists():
        time.sleep(0.1)
    child.kill()
    child.wait()
