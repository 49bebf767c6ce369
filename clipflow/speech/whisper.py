"""The listener for real use: WhisperX, which batches Whisper and times each word by alignment."""

import logging
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipflow.domain.errors import InvalidInputError, NotInstalledError
from clipflow.domain.transcript import Transcript, Word
from clipflow.machine import cores
from clipflow.speech import whisper_models
from clipflow.speech.alignment import aligned
from clipflow.speech.sound import RATE, Samples, pieces, samples
from clipflow.speech.speakers import told_apart
from clipflow.telemetry.progress import report

_LOG = logging.getLogger(__name__)
# Samples that are worked on at once (58 MB as floats), and the span at their end in which they
# may be cut: 15 minutes and one.
_WINDOW, _LEEWAY = 15 * 60 * RATE, 60 * RATE
# Samples by which a language is told, which is as much as Whisper looks at, and how many such
# excerpts are asked: a video may begin with music.
_EXCERPT, _EXCERPTS = 30 * RATE, 5
# Samples below which the voice detector has nothing to look at.
_LEAST = RATE
# Utterances decoded at once: what WhisperX's own command takes, and half of it without a GPU.
_BATCH = {"cuda": 8, "cpu": 4}
# Tags that Whisper calls otherwise.
_CALLED = {"nb": "no", "fil": "tl", "jv": "jw"}


def require() -> None:
    """Raises NotInstalledError where the extra `whisperx` is not there."""
    if find_spec("whisperx") is None:
        raise NotInstalledError(
            "WhisperX is not installed.",
            "Run `make whisperx`, or set CLIPFLOW_TRANSCRIBER=pocketsphinx.",
        )


def transcribe(sound: Path, language: str | None = None) -> Transcript:
    """The words in the file at `sound`; see `transcribe.Transcribe`.

    With HF_TOKEN set, speakers are told apart, for which all of the sound is in memory: 230 MB an
    hour. Raises InvalidInputError where Whisper does not know the language, NotInstalledError where
    a model is neither on this machine nor can be fetched.
    """
    require()
    code, heard = _code(language), samples(sound)
    diarizer = whisper_models.diarizer()
    listener = whisper_models.listener(code, cores())
    code = code or _detected(listener, heard)
    words = _words(listener, heard, code)
    if not words:
        return Transcript((), code if language else None)
    if diarizer is not None:
        words = told_apart(words, diarizer(_floats(heard, range(len(heard)))))
    return Transcript(tuple(words), code)


def _words(listener: Any, heard: Samples, code: str) -> list[Word]:
    words: list[Word] = []
    aligner: whisper_models.Aligner | None = None
    is_loaded = False
    for window in pieces(heard, 0, len(heard), _WINDOW, _LEEWAY):
        sound, offset = _floats(heard, window), window.start / RATE
        batch = _BATCH[whisper_models.device()]
        segments = listener.transcribe(sound, batch_size=batch, language=code)["segments"]
        if segments and not is_loaded:
            # Not before someone speaks: what language silence is in, no one can tell.
            aligner, is_loaded = whisper_models.aligner(code), True
        for segment in segments:
            words += _shifted(aligned(segment, sound, aligner), offset)
        report(window.stop / max(1, len(heard)))
    return words


def _shifted(words: list[Word], offset: float) -> list[Word]:
    return [
        word.model_copy(
            update={"start": round(word.start + offset, 3), "end": round(word.end + offset, 3)}
        )
        for word in words
    ]


def _code(language: str | None) -> str | None:
    """The tag's language as Whisper calls it."""
    from whisperx.utils import LANGUAGES

    if language is None:
        return None
    tag = language.lower().split("-")[0]
    code = _CALLED.get(tag, tag)
    if code not in LANGUAGES:
        raise InvalidInputError(
            f"Whisper does not know the language {language!r}.",
            "Leave it out to have it detected, or put an original.srt beside the video.",
        )
    return code


def _detected(listener: Any, heard: Samples) -> str:
    """The language of most excerpts."""
    if not listener.model.model.is_multilingual:
        return "en"
    room = max(0, len(heard) - _EXCERPT)
    starts = sorted({round(room * place / (_EXCERPTS - 1)) for place in range(_EXCERPTS)})
    answers = Counter(
        str(listener.detect_language(_floats(heard, range(start, start + _EXCERPT))))
        for start in starts
    )
    code = answers.most_common(1)[0][0]
    _LOG.info("Detected language: %s, of %s", code, dict(answers))
    return code


def _floats(heard: Samples, span: range) -> NDArray[np.float32]:
    """The samples from -1 to 1, as WhisperX wants them."""
    floats = heard[span.start : span.stop].astype(np.float32)
    floats /= 32768
    return np.pad(floats, (0, max(0, _LEAST - len(floats))))
