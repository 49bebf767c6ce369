"""`clipflow`, run as a person runs it."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from deployments.demo.sample import OUT, console
from deployments.local_stack import RunningStack


def run_command(stack: RunningStack, makes: Iterable[Path], *asked: str) -> bool:
    """Whether it went well; of the files that it makes, none of an earlier demo is left."""
    for file in makes:
        file.unlink(missing_ok=True)
    console.print(f"$ clipflow {' '.join(asked)}", markup=False, soft_wrap=True)
    command = [sys.executable, "-m", "deployments.command", *asked, "--out", str(OUT)]
    ended = subprocess.run(command, env={**os.environ, **stack.env}, check=False)
    return ended.returncode == 0
