"""Verifies the contents of an image: `python -m deployments.operate.image check|models [en,de]`.

`check` finds out whether everything a run needs is installed; an image runs it when it is built,
and as its health check. `models` loads and tries the speech models of the settings. A build runs
it twice: with a network, which fetches them, and without one, as a run will.
"""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

import yaml

from clipflow.captions.typefaces import FOLDER
from clipflow.machine import Machine, cores
from clipflow.media import ffmpeg
from clipflow.settings import Transcriber, limits, models

PREFECT_FILE = Path(__file__).parents[2] / "prefect.yaml"
# An encode that the installed ffmpeg must be able to do.
_ENCODING = ["-f", "lavfi", "-i", "nullsrc=duration=0.1", "-c:v", "libx264", "-f", "null", "-"]
_BRIDGE = "deployments.bridge.__main__"
# The modules of a worker, of its work pools, and of the command of their machines.
_WORKER = ("prefect_aws.workers.ecs_worker", "deployments.work_pools", "deployments.execute")


def entrypoints() -> list[str]:
    """Every flow that prefect.yaml deploys, as `module:function`."""
    deployments = yaml.safe_load(PREFECT_FILE.read_text())["deployments"]
    return [deployment["entrypoint"] for deployment in deployments]


def check() -> str:
    """Checks that flows, workers, ffmpeg and fonts are installed; returns one line about them.

    Raises ImportError, AttributeError, OSError or MediaRefusedError if something is missing.
    """
    for entrypoint in entrypoints():
        module, _, name = entrypoint.partition(":")
        getattr(importlib.import_module(module), name)
    for module in (_BRIDGE, *_WORKER):
        importlib.import_module(module)
    ffmpeg.run(_ENCODING, "a check", Machine(Path(gettempdir()), limits().ffmpeg), 30)
    fonts = len(list(FOLDER.iterdir()))
    return f"{len(entrypoints())} flows, {ffmpeg.executable(limits().ffmpeg)}, {fonts} fonts"


def load_models(languages: Sequence[str]) -> None:
    """Runs the model of the settings on silence, and WhisperX's alignment models of `languages`.

    Raises NotInstalledError for a model that is neither on this machine nor can be fetched.
    """
    # Imported here, because the health check must not load them.
    import numpy as np

    from clipflow.speech import whisperx
    from clipflow.speech.audio import RATE
    from clipflow.speech.transcriber import recognizer

    silence = np.zeros(2 * RATE, dtype=np.int16)
    recognizer(models(), cores()).recognize(silence, "en")
    print(f"{models().transcriber}, {models().whisper_model}: recognises speech")
    if models().transcriber is not Transcriber.WHISPERX:
        return
    for language in languages:
        found = whisperx.load_alignment_model(language, models())
        segment = {"text": "A word.", "start": 0.0, "end": 2.0}
        whisperx.align_segment(segment, silence.astype(np.float32), found)
        print(f"{language}: {'aligned' if found else 'no alignment model'}")


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["check"]:
            print(check())
        case ["models", *names]:
            languages = (names or ["en"])[0].split(",")
            load_models([name.strip() for name in languages if name.strip()])
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
