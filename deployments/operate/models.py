"""`python -m deployments.operate.models en,de`: the models of the settings, fetched or found, and
tried.

An image does this twice when it is built: with a network, and without one as a run will.
"""

import sys
from collections.abc import Sequence

import numpy as np

from clipflow.machine import cores
from clipflow.settings import Transcriber, models
from clipflow.speech import whisperx
from clipflow.speech.sound import RATE
from clipflow.speech.transcriber import recognizer


def load(languages: Sequence[str]) -> None:
    """The model of the settings on some silence, and WhisperX's alignment models of `languages`.

    Raises NotInstalledError for what is neither on this machine nor can be fetched.
    """
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


if __name__ == "__main__":
    names = sys.argv[1] if len(sys.argv) > 1 else "en"
    load([language.strip() for language in names.split(",") if language.strip()])
