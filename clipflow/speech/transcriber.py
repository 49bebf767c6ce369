"""Transcription: the interface and the registry of recognisers, and the transcript of a sound."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Protocol

from clipflow.domain.transcript import Transcript, Word
from clipflow.machine import cores
from clipflow.settings import Models, Transcriber
from clipflow.speech.audio import RATE, Samples, read_samples, sample_count, samples, split_evenly
from clipflow.speech.model_cost import cpu_seconds_a_second, window_count
from clipflow.speech.whisper import WhisperRecognizer, return_freed_memory, whisper_language
from clipflow.speech.whisperx import WhisperXRecognizer, diarize
from clipflow.telemetry.progress import portion

logger = logging.getLogger(__name__)

# The longest window that one task recognises, and the span at its end in which it may be cut: ten
# minutes and one minute, in samples.
WINDOW, _LEEWAY = 10 * 60 * RATE, 60 * RATE
# A word that two windows have at their border: the longest time between both, in seconds, and the
# score below which one of them is a part of the other rather than a word that is said twice.
_BORDER_SECONDS, _UNCERTAIN_WORD = 0.15, 0.5
_PUNCTUATION = " .,;:!?…-–—\"'"
# Language detection: the samples of an excerpt, which is as much as Whisper reads; how many
# excerpts with speech vote, as a video may begin in another language; how many are tried at most.
_EXCERPT, _EXCERPTS, _MOST_TRIED = 30 * RATE, 5, 64
# The sum of probabilities that ends the vote early: two clear excerpts.
_SURE = 1.8
# The mean probability of an excerpt below which the language may be wrong. Languages that `base`
# confused in a trial with synthetic voices had 0.2 to 0.3.
_UNCERTAIN = 0.5
# The languages that are written in Simplified or Traditional Chinese, and the script of a tag that
# names a region instead of a script, as in CLDR's likely subtags.
_CHINESE = ("zh", "yue")
_REGION_SCRIPTS = {"cn": "hans", "sg": "hans", "my": "hans"} | dict.fromkeys(
    ("tw", "hk", "mo"), "hant"
)


class Recognizer(Protocol):
    """Recognises speech in sound that fits into memory. Used by several threads at once."""

    def detect_language(self, sound: Samples) -> tuple[str, float] | None:
        """The language, as Whisper calls it, and its probability; None without speech."""

    def recognize(self, sound: Samples, language: str, threads: int = 1) -> list[Word]:
        """The words in the order they are said, with times in seconds from the first sample."""


@dataclass(frozen=True)
class Registration:
    """How a transcriber is created, and its properties that are needed before that.

    Attributes:
        create: creates its recogniser from the settings and the number of threads that recognise
            at once. Raises NotInstalledError if a package or a model is missing.
        model_settings: the fields of `Models` that name its models, each a name or a path. Their
            values and the content of the files are part of a transcript's fingerprint.
        is_distributed: whether windows may be transcribed on machines of the `media` pool, which
            have only clipflow's own packages.
    """

    create: Callable[[Models, int], Recognizer]
    model_settings: tuple[str, ...]
    is_distributed: bool


# What CLIPFLOW_TRANSCRIBER may name.
TRANSCRIBERS: Mapping[Transcriber, Registration] = {
    Transcriber.WHISPER: Registration(WhisperRecognizer, ("whisper_model",), is_distributed=True),
    # Only the machine that prepares the video has its packages, and possibly a GPU.
    Transcriber.WHISPERX: Registration(
        WhisperXRecognizer, ("whisper_model", "whisperx_align_model"), is_distributed=False
    ),
}


def recognizer(models: Models, workers: int = 1) -> Recognizer:
    """The recogniser that the settings choose. Raises NotInstalledError."""
    return TRANSCRIBERS[models.transcriber].create(models, workers)


_shared: dict[str, Recognizer] = {}
_lock = Lock()


def shared_recognizer(models: Models) -> Recognizer:
    """One recogniser for all threads of the process, loaded once. Raises NotInstalledError."""
    with _lock:
        name = models.model_dump_json()
        if name not in _shared:
            _shared.clear()
            _shared[name] = recognizer(models, cores())
        return _shared[name]


@contextmanager
def recognizer_loading(models: Models) -> Iterator[None]:
    """Loads the shared recogniser in another thread meanwhile. Raises NotInstalledError at the
    end."""
    with ThreadPoolExecutor(1) as thread:
        # In a copy of this thread's context, so that log lines have the ids of its run.
        loaded = thread.submit(copy_context().run, shared_recognizer, models)
        yield
        loaded.result()


def release_recognizers() -> None:
    """Free the memory of the shared recogniser; the next use loads it again."""
    with _lock:
        _shared.clear()
    return_freed_memory()


def transcribe(sound: Path, language: str | None, models: Models) -> Transcript:
    """The words in the file at `sound`, which `audio.extract` wrote.

    `language` is a tag like `en` or `pt-BR`; if it is None, the language is detected. Without
    speech the transcript is empty. Raises InvalidInputError for a language that the recogniser does
    not know, NotInstalledError if a package or a model is missing.
    """
    code = requested_language(language)
    chosen = shared_recognizer(models)
    code = code or detect_language(chosen, sound)
    if code is None:
        return Transcript((), None)
    found: list[list[Word]] = []
    count = sample_count(sound)
    for window in split_windows(sound, models):
        with portion(window.start / max(1, count), window.stop / max(1, count)):
            found.append(
                recognize_window(chosen, read_samples(sound, window), window.start, code, cores())
            )
    words = in_requested_script(join_words(found), language)
    if words:
        words = separate_speakers(words, sound, models)
    return Transcript(tuple(words), code if words or language else None)


def requested_language(tag: str | None) -> str | None:
    """The language of a tag, as the recognisers call it. Raises InvalidInputError."""
    return whisper_language(tag) if tag else None


def in_requested_script(words: list[Word], tag: str | None) -> list[Word]:
    """`words` in the Chinese script that the requested language's tag names, with the same times.

    Whisper has one language for all of written Chinese, and chooses the script by itself. `zh-CN`,
    `zh-SG` and `zh-Hans` are Simplified; `zh-TW`, `zh-HK`, `zh-MO` and `zh-Hant` are Traditional,
    with the characters of Hong Kong or else of Taiwan. Words of another tag are returned unchanged.
    """
    conversion = _script_conversion(tag)
    if not words or not conversion:
        return words
    # Imported late, because most flows do not need it.
    from opencc import OpenCC

    convert = OpenCC(conversion).convert
    # All at once: what a character becomes depends on its neighbours, and Whisper's Chinese words
    # are single characters. These conversions exchange one character for one.
    text = "".join(word.text for word in words)
    converted = convert(text)
    if len(converted) != len(text):
        return [word.model_copy(update={"text": convert(word.text)}) for word in words]
    characters = iter(converted)
    return [
        word.model_copy(update={"text": "".join(islice(characters, len(word.text)))})
        for word in words
    ]


def _script_conversion(tag: str | None) -> str | None:
    """OpenCC's name of the conversion into the script of a tag; None if it names none."""
    language, *subtags = (tag or "").lower().split("-")
    if language not in _CHINESE:
        return None
    scripts = [subtag for subtag in subtags if subtag in ("hans", "hant")]
    scripts += [_REGION_SCRIPTS[subtag] for subtag in subtags if subtag in _REGION_SCRIPTS]
    if not scripts:
        return None
    if scripts[0] == "hans":
        # From Taiwan's variants, which include those of Traditional Chinese in general.
        return "tw2s"
    return "s2hk" if {"hk", "mo"} & set(subtags) else "s2tw"


def separate_speakers(words: list[Word], sound: Path, models: Models) -> list[Word]:
    """`words` with their speakers if the settings enable diarization, otherwise unchanged."""
    if not models.diarizes:
        return words
    return diarize(words, read_samples(sound, range(sample_count(sound))), models)


def split_windows(sound: Path, models: Models, machines: int = 1) -> list[range]:
    """The samples of the file at `sound`, in windows of at most ten minutes cut at pauses.

    With several `machines`, windows are shorter if the model is so slow that more of the machines
    are worth their start.
    """
    whole, longest = samples(sound), WINDOW
    if TRANSCRIBERS[models.transcriber].is_distributed and len(whole):
        cost = cpu_seconds_a_second(models.whisper_model)
        longest_seconds = (WINDOW - _LEEWAY // 2) / RATE
        count = window_count(len(whole) / RATE, cost, longest_seconds, machines)
        longest = min(WINDOW, -(-len(whole) // count) + _LEEWAY // 2)
    return split_evenly(whole, longest, _LEEWAY)


def recognize_window(
    recognizer: Recognizer, sound: Samples, first: int, language: str, threads: int
) -> list[Word]:
    """The words of a window that begins at sample `first`, timed from the sound's beginning."""
    words = recognizer.recognize(sound, language, threads)
    return [word.shifted(first / RATE) for word in words]


def join_words(windows: Iterable[Sequence[Word]]) -> list[Word]:
    """The words of consecutive windows. A word at a border that both windows have is kept once.

    A window may end within a word if there is no pause to cut at.
    """
    words: list[Word] = []
    for window in windows:
        if words and window and _is_repeated(words[-1], window[0]):
            if _score(words[-1]) < _score(window[0]):
                words.pop()
            else:
                window = window[1:]
        words += window
    return words


def _is_repeated(before: Word, after: Word) -> bool:
    first, second = (word.text.strip(_PUNCTUATION).casefold() for word in (before, after))
    uncertain = min(_score(before), _score(after)) < _UNCERTAIN_WORD
    return first == second and uncertain and after.start - before.end < _BORDER_SECONDS


def _score(word: Word) -> float:
    return 1.0 if word.score is None else word.score


def detect_language(recognizer: Recognizer, sound: Path) -> str | None:
    """The language of most excerpts with speech; None without speech."""
    votes: Counter[str] = Counter()
    counted = 0
    for excerpt in _excerpts(sample_count(sound)):
        found = recognizer.detect_language(read_samples(sound, excerpt))
        if found is None:
            continue
        language, probability = found
        votes[language] += probability  # type: ignore[assignment]
        counted += 1
        if counted == _EXCERPTS or votes[language] >= _SURE:
            break
    if not votes:
        return None
    language = votes.most_common(1)[0][0]
    logger.info("Detected language: %s, of %s", language, dict(votes))
    if votes[language] < _UNCERTAIN * counted:
        logger.warning(
            "The language is uncertain: %r has a probability of %.2f. If the words are wrong, set"
            " the language (`language` in the config, `--language`).",
            language,
            votes[language] / counted,
        )
    return language


def _excerpts(count: int) -> Iterator[range]:
    """Excerpts of a sound of `count` samples: far apart first, later ones between the earlier."""
    whole = max(1, -(-count // _EXCERPT))
    seen: set[int] = set()
    parts = 1
    while len(seen) < min(whole, _MOST_TRIED):
        for place in range(1, 2 * parts, 2):
            number = min(whole - 1, whole * place // (2 * parts))
            if number not in seen and len(seen) < _MOST_TRIED:
                seen.add(number)
                yield range(number * _EXCERPT, min(count, (number + 1) * _EXCERPT))
        parts *= 2
