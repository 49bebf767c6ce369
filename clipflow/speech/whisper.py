"""The default recogniser: Whisper on CTranslate2, through faster-whisper, without torch."""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock, Semaphore
from typing import Any

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.transcript import PartialWord, Word, fill_times
from clipflow.settings import Models
from clipflow.speech.alignment import find_aligner, regroup
from clipflow.speech.sound import RATE, Samples, floats, split_evenly
from clipflow.speech.weights import find_weights
from clipflow.telemetry.progress import report

# Samples that a thread recognises at once, and the span at their end in which they may be cut:
# 2 min and 20 s. Memory grows with the length, and threads share short sounds better.
_LONGEST, _LEEWAY = 120 * RATE, 20 * RATE
# A pause this long is taken out before recognition, in milliseconds: Whisper invents words in it.
_VOICE_DETECTION = {"min_silence_duration_ms": 500}
# Parameters of glibc's `mallopt`, from malloc.h, and bytes: no array of a model is larger.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGEST_ARRAY = 256 << 20
# Tags that Whisper calls otherwise.
_CALLED = {"nb": "no", "fil": "tl", "jv": "jw"}


def whisper_language(tag: str) -> str:
    """The language of a tag like `pt-BR`, as Whisper calls it. Raises InvalidInputError."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    code = tag.lower().split("-")[0]
    code = _CALLED.get(code, code)
    if code not in _LANGUAGE_CODES:
        raise InvalidInputError(
            f"Whisper does not know the language {tag!r}.",
            "Leave it out to have it detected, or put an original.srt beside the video.",
        )
    return code


class WhisperRecognizer:
    """Words of any language that Whisper knows; see `transcriber.Recognizer`.

    Several threads do better with a sound each than with one together, which wait for each other:
    as many as `workers` recognise at once.
    """

    def __init__(self, models: Models, workers: int = 1) -> None:
        # Imported here: a flow starts without it.
        import ctranslate2
        from faster_whisper import WhisperModel

        # Encoding takes 200 MB and a third of the time, so half of the threads hardly wait for it.
        encoding = Semaphore(max(1, workers // 2))

        class Model(WhisperModel):  # type: ignore[misc]
            def encode(self, features: Any) -> Any:
                with encoding:
                    encoded = super().encode(features)
                    _return_freed_memory()
                return encoded

        _reuse_freed_memory()
        self._name = models.whisper_model
        has_gpu = ctranslate2.get_cuda_device_count() > 0
        self._model = find_weights(self._name).load(
            Model,
            device="cuda" if has_gpu else "cpu",
            # CPUs have no 16-bit floats to speak of; eight bits take a quarter of 32's memory.
            compute_type="float16" if has_gpu else "int8",
            cpu_threads=1,
            num_workers=workers,
        )

    def detect_language(self, sound: Samples) -> tuple[str, float] | None:
        """The language and how sure it is; None where no one speaks in `sound`."""
        if not self._model.model.is_multilingual:
            return "en", 1.0
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        samples = floats(sound)
        if not len(samples) or not get_speech_timestamps(samples, VadOptions(**_VOICE_DETECTION)):
            return None
        code, probability, _ = self._model.detect_language(samples, vad_filter=True)
        return str(code), float(probability)

    def recognize(self, sound: Samples, language: str, threads: int = 1) -> list[Word]:
        """See `Recognizer`. Raises InvalidInputError where the model knows no such language."""
        if language != "en" and not self._model.model.is_multilingual:
            raise InvalidInputError(
                f"The Whisper model {self._name} knows English only, not {language!r}.",
                "Name another in CLIPFLOW_WHISPER_MODEL.",
            )
        if not len(sound):
            return []
        progress = _Progress(len(sound) / RATE)
        with ThreadPoolExecutor(threads) as pool:
            # Each in a context of its own, so that its progress is reported as this thread's.
            found = [
                pool.submit(copy_context().run, self._recognize, sound, piece, language, progress)
                for piece in split_evenly(sound, _LONGEST, _LEEWAY)
            ]
            words = [word for one in found for word in one.result()]
        aligner = find_aligner(language)
        return aligner.align(words, sound) if aligner else words

    def _recognize(
        self, sound: Samples, piece: range, language: str, progress: "_Progress"
    ) -> list[Word]:
        """The words of a piece of `sound`, timed from the beginning of `sound`."""
        segments, _ = self._model.transcribe(
            floats(sound[piece.start : piece.stop]),
            language=language,
            beam_size=5,
            vad_filter=True,
            vad_parameters=_VOICE_DETECTION,
            word_timestamps=True,
        )
        words: list[Word] = []
        offset, done = piece.start / RATE, 0.0
        for segment in segments:
            words += _words(segment, offset)
            progress.add(segment.end - done)
            done = segment.end
        progress.add(len(piece) / RATE - done)
        return words


def _reuse_freed_memory() -> None:
    """Has glibc keep freed arrays for the next ones, where it is the C library.

    A step of the decoder frees arrays and allocates others of nearly the same sizes. Pages that are
    new from the system each time cost as much CPU time as the arithmetic. All threads share one
    heap, as each heap keeps the most that it ever used.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_ARRAY)
        library.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_ARRAY)
        library.mallopt(_ARENA_MAX, 1)


def _return_freed_memory() -> None:
    """Gives back to the system what `_reuse_freed_memory` keeps, so that it does not add up."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


class _Progress:
    """Seconds recognised of `seconds`, added up over threads."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._done, self._lock = seconds, 0.0, Lock()

    def add(self, seconds: float) -> None:
        with self._lock:
            self._done += seconds
            report(self._done / self._seconds)


def _words(segment: Any, offset: float) -> list[Word]:
    words = segment.words or ()
    found = [
        PartialWord(
            "".join(word.word.split()),
            round(offset + word.start, 3),
            round(offset + word.end, 3),
            round(word.probability, 3),
        )
        for word in words
        if word.word.strip()
    ]
    text = "".join(word.word for word in words)
    return fill_times(regroup(found, text), offset + segment.start, offset + segment.end)
