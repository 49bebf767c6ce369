"""The default recogniser: Whisper on CTranslate2 by faster-whisper, without torch."""

import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from math import inf
from threading import Lock, Semaphore
from typing import Any

import numpy as np

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.transcript import PartialWord, Word, fill_times
from clipflow.settings import Models
from clipflow.speech.alignment import align_apart, find_aligner, regroup
from clipflow.speech.audio import RATE, Floats, Samples, floats, split_evenly
from clipflow.speech.weights import find_weights
from clipflow.telemetry.progress import report

# The longest piece that a thread recognises, and the span at its end in which it may be cut: 2 min
# and 20 s, in samples. Memory grows with the length, and short pieces spread better over threads.
_LONGEST, _LEEWAY = 120 * RATE, 20 * RATE
# Pauses of this length are removed before recognition, because Whisper invents words in them.
_VOICE_DETECTION = {"min_silence_duration_ms": 500}
# Whisper sometimes skips a sentence; which one depends on the CPU's rounding, too. So a stretch of
# speech between two pauses of 0.1 s is recognised once more, by itself, if this many seconds of it
# in a row have no word. A word takes a second at most.
_SPEECH_DETECTION = {"min_silence_duration_ms": 100, "speech_pad_ms": 30}
_SKIPPED_SECONDS, _LONGEST_WORD = 1.2, 1.0
# What is found replaces the first result only if it has more words, at least so many a second as
# slow speech has, and so sure. Whisper says "Thank you" of applause.
_LEAST_WORDS_A_SECOND, _LEAST_SCORE = 1.0, 0.5
# Seconds of the pauses beside a stretch of speech that are recognised with it.
_PAUSE_BESIDE = 0.3
# Hertz. Below it, voices have nothing that recognition needs. A microphone's rumble there makes the
# voice detector take speech for silence: with 98 % of the energy below 40 Hz, all words were lost.
_LOWEST_FREQUENCY = 80
# Samples in which rumble is looked for, 2 s, and the power from which they count: -40 dBFS.
_RUMBLE_BLOCK, _LOUD = 2 * RATE, 1e-4
# Quiet sound is amplified, because the voice detector takes the ends of quiet sentences for pauses:
# in speech that had -34 dBFS beside a rumble, a sixth was lost. The level is the root mean square
# of a block of 30 ms that is louder than 95 % of them. It is raised to -20 dBFS, as loud recordings
# have, but by at most 30 dB: with up to that, the detector finds no speech in hiss, hum and pauses.
_SPEECH_LEVEL, _MOST_GAIN = 0.1, 31.6
_LEVEL_BLOCK, _LOUDER_THAN = RATE * 30 // 1000, 0.95
# Parameters of glibc's `mallopt`, from malloc.h, and the size in bytes of a model's largest array.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGEST_ARRAY = 256 << 20
# Language tags for which Whisper has another name.
_CALLED = {"nb": "no", "fil": "tl", "jv": "jw"}


def whisper_language(tag: str) -> str:
    """The language of a tag like `pt-BR`, as Whisper calls it. Raises InvalidInputError."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    code = tag.lower().split("-")[0]
    code = _CALLED.get(code, code)
    if code not in _LANGUAGE_CODES:
        raise InvalidInputError(
            f"Whisper does not know the language {tag!r}.",
            "Leave it out to have the language detected. A video of shorts may also have an"
            " original.srt beside it.",
        )
    return code


class WhisperRecognizer:
    """Recognises any language that Whisper knows; see `transcriber.Recognizer`.

    Up to `workers` threads recognise at once, each a piece of its own, since threads that share a
    piece wait for each other.
    """

    def __init__(self, models: Models, workers: int = 1) -> None:
        # Imported late, because most flows do not need it.
        import ctranslate2
        from faster_whisper import WhisperModel

        self._large_arrays = large_arrays = _LargeArrays(max(1, workers // 2))

        class Model(WhisperModel):  # type: ignore[misc]
            def encode(self, features: Any) -> Any:
                with large_arrays:
                    return super().encode(features)

            def find_alignment(self, *arguments: Any, **options: Any) -> Any:
                with large_arrays:
                    return super().find_alignment(*arguments, **options)

        _reuse_freed_memory()
        # Of a recogniser that was used before, for example.
        return_freed_memory()
        self._name = models.whisper_model
        has_gpu = ctranslate2.get_cuda_device_count() > 0
        self._model = find_weights(self._name).load(
            Model,
            device="cuda" if has_gpu else "cpu",
            # Most CPUs cannot compute in 16-bit floats; 8 bits take a quarter of 32 bits' memory.
            compute_type="float16" if has_gpu else "int8",
            cpu_threads=1,
            num_workers=workers,
        )
        # What the first recognition needs too, so that it is loaded while the sound is extracted.
        import scipy.signal  # noqa: F401
        from faster_whisper.vad import get_vad_model

        get_vad_model()
        # The weights are read as 16-bit floats, twice the size of what is kept of them.
        return_freed_memory()

    def detect_language(self, sound: Samples) -> tuple[str, float] | None:
        """See `Recognizer`."""
        if not self._model.model.is_multilingual:
            return "en", 1.0
        samples = _prepared(sound)
        spoken = _speech(samples, _VOICE_DETECTION)
        if not spoken:
            return None
        speech = np.concatenate([samples[one.start : one.stop] for one in spoken])
        code, probability, _ = self._model.detect_language(speech)
        return str(code), float(probability)

    def recognize(self, sound: Samples, language: str, threads: int = 1) -> list[Word]:
        """See `Recognizer`. Raises InvalidInputError if the model does not know the language."""
        if language != "en" and not self._model.model.is_multilingual:
            raise InvalidInputError(
                f"The Whisper model {self._name} knows English only, not {language!r}.",
                "Name another in CLIPFLOW_WHISPER_MODEL.",
            )
        if not len(sound):
            return []
        progress = _Progress(len(sound) / RATE)
        with ThreadPoolExecutor(threads) as pool:
            # In a copy of this thread's context, so that progress is reported as this thread's.
            found = [
                pool.submit(copy_context().run, self._recognize, sound, piece, language, progress)
                for piece in split_evenly(sound, _LONGEST, _LEEWAY)
            ]
            return [word for one in found for word in one.result()]

    def _recognize(
        self, sound: Samples, piece: range, language: str, progress: "_Progress"
    ) -> list[Word]:
        """The words of a piece of `sound`, timed from the beginning of `sound`."""
        part = sound[piece.start : piece.stop]
        words = self._timed_words(part, language, progress)
        words = self._with_skipped_words(words, part, language)
        offset = piece.start / RATE
        return [word.shifted(offset) for word in words]

    def _timed_words(
        self, sound: Samples, language: str, progress: "_Progress | None" = None
    ) -> list[Word]:
        with self._large_arrays:
            # This detects voices and computes the spectrum; the iteration over the segments, below,
            # does the rest.
            segments, _ = self._model.transcribe(
                _prepared(sound),
                language=language,
                beam_size=5,
                # Of a piece that is decoded again, at random: each further one holds a copy of what
                # the encoder computed, 37 MB for `base`.
                best_of=1,
                vad_filter=True,
                vad_parameters=_VOICE_DETECTION,
                word_timestamps=True,
            )
        words: list[Word] = []
        done = 0.0
        for segment in segments:
            words += _words(segment)
            if progress:
                progress.add(segment.end - done)
            done = segment.end
        if progress:
            progress.add(len(sound) / RATE - done)
        if aligner := find_aligner(language):
            words = align_apart(aligner, words, sound)
        return words

    def _with_skipped_words(self, words: list[Word], sound: Samples, language: str) -> list[Word]:
        """The words, with those of speech that Whisper has skipped."""
        with self._large_arrays:
            spoken = _speech(_prepared(sound), _SPEECH_DETECTION)
        seconds = [(one.start / RATE, one.stop / RATE) for one in spoken]
        for start, end in skipped_speech(words, seconds):
            part = sound[round(start * RATE) : round(end * RATE)]
            again = [word.shifted(start) for word in self._timed_words(part, language)]
            before = [word for word in words if (word.start + word.end) / 2 < start]
            after = [word for word in words if (word.start + word.end) / 2 > end]
            is_more = len(again) > len(words) - len(before) - len(after)
            if is_more and _is_speech(again, end - start):
                words = [*before, *again, *after]
        return words


def skipped_speech(
    words: Sequence[Word], speech: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Start and end of the stretches of sound, pauses included, whose speech has too few words.

    `speech` has the start and end of each stretch between two pauses. All times are in seconds.
    """
    ends = [0.0, *(min(word.end, word.start + _LONGEST_WORD) for word in words)]
    starts = [*(word.start for word in words), inf]
    found: list[tuple[float, float]] = []
    for number, (start, end) in enumerate(speech):
        longest = max(
            min(end, until) - max(start, since) for since, until in zip(ends, starts, strict=True)
        )
        if longest >= _SKIPPED_SECONDS:
            before = speech[number - 1][1] if number else 0.0
            after = speech[number + 1][0] if number + 1 < len(speech) else inf
            found.append((max(before, start - _PAUSE_BESIDE), min(after, end + _PAUSE_BESIDE)))
    return found


def _is_speech(words: Sequence[Word], seconds: float) -> bool:
    scores = [word.score or 0.0 for word in words]
    return len(words) >= _LEAST_WORDS_A_SECOND * seconds and sum(scores) >= _LEAST_SCORE * len(
        words
    )


def _speech(samples: Floats, detection: dict[str, int]) -> list[range]:
    """The samples of each stretch of speech between two pauses."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if not len(samples):
        return []
    found = get_speech_timestamps(samples, VadOptions(**detection))
    return [range(one["start"], one["end"]) for one in found]


def _prepared(sound: Samples) -> Floats:
    """The samples as floats without rumble, amplified if they are quiet."""
    clean = _without_rumble(sound)
    count = len(clean) // _LEVEL_BLOCK
    if not count:
        return clean
    blocks = clean[: count * _LEVEL_BLOCK].reshape(count, _LEVEL_BLOCK)
    powers = np.einsum("ij,ij->i", blocks, blocks) / _LEVEL_BLOCK
    level = float(np.sqrt(np.quantile(powers, _LOUDER_THAN)))
    if 0 < level < _SPEECH_LEVEL:
        clean *= min(_MOST_GAIN, _SPEECH_LEVEL / level)
    return clean


def _without_rumble(sound: Samples) -> Floats:
    """The samples as floats; without frequencies below those of voices if these are anywhere most
    of what is loud."""
    plain = floats(sound)
    if not len(sound):
        return plain
    from scipy.signal import butter, sosfilt

    sections = butter(2, _LOWEST_FREQUENCY, "highpass", fs=RATE, output="sos")
    filtered: Floats = sosfilt(sections, plain).astype(np.float32)
    for start in range(0, len(plain), _RUMBLE_BLOCK):
        before, after = (part[start : start + _RUMBLE_BLOCK] for part in (plain, filtered))
        energy = np.dot(before, before)
        if energy > _LOUD * len(before) and np.dot(after, after) < energy / 2:
            return filtered
    return plain


def _reuse_freed_memory() -> None:
    """Make glibc, if it is the C library, reuse freed arrays instead of returning them.

    A step of the decoder frees arrays and allocates others of nearly the same sizes. Getting new
    pages from the system each time costs as much CPU time as the arithmetic. All threads share one
    heap, because each heap keeps the most that it ever used.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_ARRAY)
        library.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_ARRAY)
        library.mallopt(_ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Return the memory to the system that glibc keeps because of `_reuse_freed_memory`."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


class _LargeArrays:
    """Limits how many threads compute with large arrays at once.

    Detecting voices, spectra, encoding and the times of words take 50 to 200 MB each, and a third
    of the time: if half of the threads may do it at once, the others rarely wait. What other
    computations have freed rarely holds an array of that size, so both would count towards the
    peak if it were not returned to the system.
    """

    def __init__(self, threads: int) -> None:
        self._threads = Semaphore(threads)

    def __enter__(self) -> None:
        self._threads.acquire()
        return_freed_memory()

    def __exit__(self, *_: object) -> None:
        return_freed_memory()
        self._threads.release()


class _Progress:
    """Reports the seconds that all threads together have recognised, of `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._done, self._lock = seconds, 0.0, Lock()

    def add(self, seconds: float) -> None:
        with self._lock:
            self._done += seconds
            report(self._done / self._seconds)


def _words(segment: Any) -> list[Word]:
    words = segment.words or ()
    found = [
        PartialWord(
            "".join(word.word.split()),
            round(word.start, 3),
            round(word.end, 3),
            round(word.probability, 3),
        )
        for word in words
        if word.word.strip()
    ]
    text = "".join(word.word for word in words)
    return fill_times(regroup(found, text), segment.start, segment.end)
