"""WhisperX's models: loaded from this machine, or fetched when first used.

An image without a network must hold the Whisper model, the alignment model of its languages, and,
where speakers are told apart, the diarization model. The voice detector is in the package.
"""

import logging
from typing import Any, NamedTuple

from clipflow.domain.errors import InvalidInputError, NotInstalledError, redact
from clipflow.settings import models

# WhisperX and torch are imported where they are used: they take seconds, and are an extra.
_LOG = logging.getLogger(__name__)
_DIARIZATION = "pyannote/speaker-diarization-community-1"
_FETCHED = "With a network it is fetched when first used; without one, "


class Aligner(NamedTuple):
    """A model that finds the characters of a text in the sound, and what WhisperX knows of it."""

    model: Any
    metadata: dict[str, Any]


def device() -> str:
    """`cuda` where there is a GPU that torch can use, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def listener(language: str | None, threads: int) -> Any:
    """WhisperX's pipeline for `language`, None to have it detected.

    Raises NotInstalledError where the model cannot be had, InvalidInputError where it hears only
    English.
    """
    import whisperx

    name = models().whisperx_model
    _keep_quiet()
    try:
        loaded = whisperx.load_model(
            name,
            device(),
            # CPUs have no 16-bit floats to speak of; eight bits take a quarter of 32's memory.
            compute_type="float16" if device() == "cuda" else "int8",
            language=language,
            # Its weights are in the package; the other method's are fetched.
            vad_method="pyannote",
            threads=threads,
            use_auth_token=_token(),
        )
    except (OSError, ValueError, RuntimeError) as error:
        remedy = f"{_FETCHED}name its folder in CLIPFLOW_WHISPERX_MODEL."
        raise _missing(f"Whisper model {name}", error, remedy) from None
    if language not in (None, "en") and not loaded.model.model.is_multilingual:
        raise InvalidInputError(
            f"The Whisper model {name} hears English only, not {language!r}.",
            "Name another in CLIPFLOW_WHISPERX_MODEL.",
        )
    return loaded


def aligner(language: str) -> Aligner | None:
    """The alignment model for `language`; None, logged, where there is none for it.

    Raises NotInstalledError where there is one but it cannot be had.
    """
    from whisperx.alignment import (
        DEFAULT_ALIGN_MODELS_HF,
        DEFAULT_ALIGN_MODELS_TORCH,
        load_align_model,
    )

    known = {**DEFAULT_ALIGN_MODELS_HF, **DEFAULT_ALIGN_MODELS_TORCH}
    name = models().whisperx_align_model or known.get(language)
    if name is None:
        _LOG.warning(
            "No alignment model for %r: its words get their times by their lengths. "
            "Name one in CLIPFLOW_WHISPERX_ALIGN_MODEL",
            language,
        )
        return None
    try:
        return Aligner(*load_align_model(language, device(), model_name=name))
    except (OSError, ValueError, RuntimeError) as error:
        remedy = f"{_FETCHED}name its folder in CLIPFLOW_WHISPERX_ALIGN_MODEL."
        raise _missing(f"alignment model {name} for {language!r}", error, remedy) from None


def diarizer() -> Any | None:
    """What tells speakers apart; None without HF_TOKEN. Raises NotInstalledError where it has
    none."""
    if _token() is None:
        return None
    from whisperx.diarize import DiarizationPipeline

    _keep_quiet()
    try:
        return DiarizationPipeline(_DIARIZATION, token=_token(), device=device())
    except (OSError, ValueError, RuntimeError, AttributeError) as error:
        # An AttributeError: pyannote gives None where the terms were not accepted.
        remedy = (
            f"Accept its terms at https://huggingface.co/{_DIARIZATION}; {_FETCHED[0].lower()}"
            f"{_FETCHED[1:]}bring it in Hugging Face's cache, or unset HF_TOKEN to do without."
        )
        raise _missing(f"diarization model {_DIARIZATION}", error, remedy) from None


def _token() -> str | None:
    token = models().hugging_face_token
    return token.get_secret_value() or None if token else None


def _keep_quiet() -> None:
    """pyannote, which WhisperX is made of, else reports each use to its makers."""
    from pyannote.audio.telemetry import set_telemetry_metrics

    set_telemetry_metrics(False)


def _missing(what: str, error: Exception, remedy: str) -> NotInstalledError:
    said = redact(str(error)).strip().split("\n")[0] or type(error).__name__
    return NotInstalledError(f"The {what} cannot be loaded: {said}", remedy)
