"""`python -m deployments.operate.installation`: check that everything a run needs is installed.

An image runs it when it is built, and as its health check.
"""

import importlib
import sys
from pathlib import Path
from tempfile import gettempdir

import yaml

from clipflow.captions.typefaces import FOLDER
from clipflow.machine import Machine
from clipflow.media import ffmpeg
from clipflow.settings import limits

PREFECT_FILE = Path(__file__).parents[2] / "prefect.yaml"
# An encode that the installed ffmpeg must be able to do.
_ENCODING = ["-f", "lavfi", "-i", "nullsrc=duration=0.1", "-c:v", "libx264", "-f", "null", "-"]
_BRIDGE = "deployments.bridge.__main__"
# The modules of a worker and of its work pools.
_WORKER = ("prefect_aws.workers.ecs_worker", "deployments.work_pools")


def entrypoints() -> list[str]:
    """Every flow that prefect.yaml deploys, as `module:function`."""
    deployments = yaml.safe_load(PREFECT_FILE.read_text())["deployments"]
    return [deployment["entrypoint"] for deployment in deployments]


def check() -> str:
    """What is installed, in one line.

    Raises ImportError, AttributeError, OSError or MediaRefusedError for what is missing.
    """
    for entrypoint in entrypoints():
        module, _, name = entrypoint.partition(":")
        getattr(importlib.import_module(module), name)
    for module in (_BRIDGE, *_WORKER):
        importlib.import_module(module)
    ffmpeg.run(_ENCODING, "a check", Machine(Path(gettempdir()), limits().ffmpeg), 30)
    fonts = len(list(FOLDER.iterdir()))
    return f"{len(entrypoints())} flows, {ffmpeg.executable(limits().ffmpeg)}, {fonts} fonts"


if __name__ == "__main__":
    print(check())
    sys.exit(0)
