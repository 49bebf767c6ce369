"""The one interface to whoever listens."""

from pathlib import Path
from typing import Protocol

from clipflow.domain.transcript import Transcript
from clipflow.settings import Transcriber, models
from clipflow.speech import pocketsphinx, whisper


class Transcribe(Protocol):
    """Hears what is said."""

    def __call__(self, sound: Path, language: str | None) -> Transcript:
        """The words in the file at `sound`, which `audio.extract` wrote.

        `language` is a tag like `en` or `pt-BR`; None lets the listener find out, where it can.
        Without speech the transcript is empty. Raises InvalidInputError where it cannot hear that
        language, and NotInstalledError where a package or a model is missing.
        """


def transcriber() -> Transcribe:
    """The listener that CLIPFLOW_TRANSCRIBER names. Raises NotInstalledError where it is not
    there."""
    if models().transcriber is Transcriber.WHISPERX:
        whisper.require()
        return whisper.transcribe
    return pocketsphinx.transcribe
