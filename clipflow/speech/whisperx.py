"""The recogniser of the extra `whisperx`: batches for a GPU, word times by alignment, speakers.

An image without a network must contain the Whisper model, the alignment models of its languages
and, for diarization, the diarization model. The voice detector is in the package.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from clipflow.domain.errors import InvalidInputError, NotInstalledError, redact
from clipflow.domain.transcript import PartialWord, Word, fill_times
from clipflow.settings import Models
from clipflow.speech.alignment import regroup
from clipflow.speech.audio import RATE, Floats, Samples, floats
from clipflow.speech.weights import find_weights
from clipflow.telemetry.progress import report

# WhisperX and torch are imported in functions: the import takes seconds, and they are an extra.
logger = logging.getLogger(__name__)
# The voice detector needs at least so many samples.
_LEAST = RATE
# Utterances decoded at once: what WhisperX's own command takes, and half of it without a GPU.
_BATCH = {"cuda": 8, "cpu": 4}
_DIARIZATION = "pyannote/speaker-diarization-community-1"
_FETCHED = "With a network it is fetched when first used; without one, "
# The files of NLTK's sentence splitter; if they are empty, it is an untrained one.
_SPLITTER = ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab")


class AlignmentModel(NamedTuple):
    """A model that finds the characters of a text in the sound, with WhisperX's metadata."""

    model: Any
    metadata: dict[str, Any]


def require() -> None:
    """Raise NotInstalledError if the extra `whisperx` is not installed."""
    if find_spec("whisperx") is None:
        raise NotInstalledError(
            "WhisperX is not installed.",
            "Run `make whisperx`, or set CLIPFLOW_TRANSCRIBER=whisper.",
        )


class WhisperXRecognizer:
    """Recognises any language that Whisper knows; see `transcriber.Recognizer`.

    It recognises one sound at a time, in batches, with `workers` threads.
    """

    def __init__(self, models: Models, workers: int = 1) -> None:
        require()
        import whisperx
        from whisperx.asr import WhisperModel

        _keep_quiet()
        self._models, self._lock = models, Lock()
        self._aligners: dict[str, AlignmentModel | None] = {}
        # Most CPUs cannot compute in 16-bit floats; 8 bits take a quarter of 32 bits' memory.
        compute_type = "float16" if device() == "cuda" else "int8"
        model = find_weights(models.whisper_model).load(
            WhisperModel, device=device(), compute_type=compute_type, cpu_threads=workers
        )
        try:
            self._pipeline = whisperx.load_model(
                models.whisper_model,
                device(),
                compute_type=compute_type,
                # Its weights are in the package; those of the other method are downloaded.
                vad_method="pyannote",
                threads=workers,
                model=model,
                use_auth_token=_token(models),
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise _missing("voice detector", error, "install WhisperX again.") from None

    def detect_language(self, sound: Samples) -> tuple[str, float] | None:
        """See `Recognizer`. WhisperX gives no probability, so it is 1."""
        if not self._pipeline.model.model.is_multilingual:
            return "en", 1.0
        with self._lock:
            return str(self._pipeline.detect_language(_padded(sound))), 1.0

    def recognize(self, sound: Samples, language: str, threads: int = 1) -> list[Word]:
        """See `Recognizer`. Raises InvalidInputError if the model does not know the language."""
        if language != "en" and not self._pipeline.model.model.is_multilingual:
            raise InvalidInputError(
                f"The Whisper model {self._models.whisper_model} knows English only, not"
                f" {language!r}.",
                "Name another in CLIPFLOW_WHISPER_MODEL.",
            )
        with self._lock:
            samples = _padded(sound)
            segments = self._pipeline.transcribe(
                samples, batch_size=_BATCH[device()], language=language
            )["segments"]
            words: list[Word] = []
            for number, segment in enumerate(segments, 1):
                words += align_segment(segment, samples, self._alignment_model(language))
                report(number / len(segments))
            return words

    def _alignment_model(self, language: str) -> AlignmentModel | None:
        if language not in self._aligners:
            self._aligners[language] = load_alignment_model(language, self._models)
        return self._aligners[language]


def device() -> str:
    """`cuda` if there is a GPU that torch can use, otherwise `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_alignment_model(language: str, models: Models) -> AlignmentModel | None:
    """The alignment model for `language`; None, with a warning, if there is none for it.

    Raises NotInstalledError if there is one but it cannot be loaded.
    """
    from whisperx.alignment import (
        DEFAULT_ALIGN_MODELS_HF,
        DEFAULT_ALIGN_MODELS_TORCH,
        load_align_model,
    )

    known = {**DEFAULT_ALIGN_MODELS_HF, **DEFAULT_ALIGN_MODELS_TORCH}
    name = models.whisperx_align_model or known.get(language)
    if name is None:
        logger.warning(
            "No alignment model for %r: its words get their times by their lengths. "
            "Name one in CLIPFLOW_WHISPERX_ALIGN_MODEL",
            language,
        )
        return None
    try:
        return AlignmentModel(*load_align_model(language, device(), model_name=name))
    except (OSError, ValueError, RuntimeError) as error:
        remedy = f"{_FETCHED}name its folder in CLIPFLOW_WHISPERX_ALIGN_MODEL."
        raise _missing(f"alignment model {name} for {language!r}", error, remedy) from None


def align_segment(
    segment: dict[str, Any], sound: Floats, model: AlignmentModel | None
) -> list[Word]:
    """Every word of `segment` (`text`, `start`, `end` in seconds of `sound`), in its order.

    Words for which the alignment finds no time share what their neighbours or the segment leave.
    """
    text, start, end = segment["text"], float(segment["start"]), float(segment["end"])
    found = _align(segment, sound, model) if model and text.strip() else []
    if model and "".join(one.text for one in found) != "".join(text.split()):
        logger.warning("Nothing aligned from %.1f s to %.1f s: %r", start, end, text)
        found = []
    return fill_times(regroup(found, text), start, end)


def _align(segment: dict[str, Any], sound: Floats, model: AlignmentModel) -> list[PartialWord]:
    import whisperx

    # One segment at a time, so that the words of the result are known to be this segment's.
    with _untrained_splitter(model.metadata["language"]):
        result = whisperx.align([segment], model.model, model.metadata, sound, device())
    return [
        PartialWord(
            "".join(word["word"].split()), *(_number(word, of) for of in ("start", "end", "score"))
        )
        for word in result["word_segments"]
    ]


def _number(word: dict[str, Any], of: str) -> float | None:
    value = float(word.get(of, "nan"))
    return None if np.isnan(value) else value


@contextmanager
def _untrained_splitter(language: str) -> Iterator[None]:
    """Provide NLTK with a sentence splitter, so that WhisperX does not download one.

    WhisperX splits aligned text into sentences, which are joined again here, so any splitter
    serves.
    """
    import nltk
    from whisperx.utils import PUNKT_LANGUAGES

    with TemporaryDirectory() as folder:
        place = Path(folder, "tokenizers", "punkt_tab", PUNKT_LANGUAGES.get(language, "english"))
        place.mkdir(parents=True)
        for name in _SPLITTER:
            (place / name).touch()
        nltk.data.path.insert(0, folder)
        try:
            yield
        finally:
            nltk.data.path.remove(folder)


def diarize(words: Sequence[Word], sound: Samples, models: Models) -> list[Word]:
    """`words` with the speakers that WhisperX's diarization finds in the whole `sound`.

    It holds the whole sound in memory: 230 MB an hour. Raises NotInstalledError if the extra or
    the model is missing.
    """
    require()
    return assign_speakers(words, _diarizer(models)(_padded(sound)))


def assign_speakers(words: Sequence[Word], turns: Any) -> list[Word]:
    """`words` with their speakers, from WhisperX's table of turns (`start`, `end`, `speaker`).

    A word between turns belongs to the speaker before it, or, at the beginning, after it.
    """
    import whisperx

    if not words:
        return []
    rows = [{"start": word.start, "end": word.end} for word in words]
    whole = {"start": words[0].start, "end": words[-1].end, "words": rows}
    whisperx.assign_word_speakers(turns, {"segments": [whole]})
    names: list[str | None] = [row.get("speaker") for row in rows]  # type: ignore[misc]
    current = next((name for name in names if name), None)
    spoken = []
    for word, name in zip(words, names, strict=True):
        current = name or current
        spoken.append(word.model_copy(update={"speaker": current}))
    return spoken


def _diarizer(models: Models) -> Any:
    from whisperx.diarize import DiarizationPipeline

    _keep_quiet()
    try:
        return DiarizationPipeline(_DIARIZATION, token=_token(models), device=device())
    except (OSError, ValueError, RuntimeError, AttributeError) as error:
        # An AttributeError means that the terms were not accepted: pyannote then returns None.
        remedy = (
            f"Accept its terms at https://huggingface.co/{_DIARIZATION}; {_FETCHED[0].lower()}"
            f"{_FETCHED[1:]}copy it into Hugging Face's cache, or unset HF_TOKEN to do without."
        )
        raise _missing(f"diarization model {_DIARIZATION}", error, remedy) from None


def _padded(sound: Samples) -> Floats:
    samples = floats(sound)
    return np.pad(samples, (0, max(0, _LEAST - len(samples))))


def _token(models: Models) -> str | None:
    token = models.hugging_face_token
    return token.get_secret_value() or None if token else None


def _keep_quiet() -> None:
    """Turn off pyannote's telemetry, which reports each use to its publisher."""
    from pyannote.audio.telemetry import set_telemetry_metrics

    set_telemetry_metrics(False)


def _missing(what: str, error: Exception, remedy: str) -> NotInstalledError:
    reason = redact(str(error)).strip().split("\n")[0] or type(error).__name__
    return NotInstalledError(f"The {what} cannot be loaded: {reason}", remedy)
