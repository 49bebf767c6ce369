"""`python -m deployments.operate.models en,de`: WhisperX's models, fetched or found, and tried.

An image does this twice when it is built: with a network, and without one as a run will.
"""

import sys
from collections.abc import Sequence

import numpy as np

from clipflow.machine import cores
from clipflow.speech import whisper, whisper_models
from clipflow.speech.alignment import aligned
from clipflow.speech.sound import RATE


def load(languages: Sequence[str]) -> None:
    """The model of the settings, and the alignment models of `languages`, each on some silence.

    Raises NotInstalledError for what is neither here nor can be fetched.
    """
    whisper.require()
    silence = np.zeros(2 * RATE, dtype=np.float32)
    whisper_models.listener(None, cores()).transcribe(silence, batch_size=1, language="en")
    for language in languages:
        found = whisper_models.aligner(language)
        aligned({"text": "A word.", "start": 0.0, "end": 2.0}, silence, found)
        print(f"{language}: {'aligned' if found else 'no alignment model'}")


if __name__ == "__main__":
    load([language.strip() for language in sys.argv[1].split(",") if language.strip()])
