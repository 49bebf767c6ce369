"""Benchmark of transcription: word errors, errors of word times, CPU time and memory.

    python -m benchmarks.speech TRANSCRIBER FILE…

is the process of one transcriber. It prints JSON: the words of each file, the CPU time of each, and
its peak memory.

The demo's sample is always transcribed. If the environment variable CLIPFLOW_MATERIAL names a
folder with real speech, this is transcribed, too: `speech/texts.json` in it has rows
`{file, language, text}`. A recording with annotated word times has a TextGrid of the same name
beside it, in the format of Praat and the Montreal Forced Aligner.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median, quantiles
from unittest.mock import patch

from benchmarks.measure import Finding, cost, peak_memory_mb
from benchmarks.programs import ffmpeg, run
from clipflow.domain.errors import NotInstalledError
from clipflow.domain.transcript import Transcript, Word
from clipflow.media.probe import probe_sound
from clipflow.media.source import LocalSource

_SAMPLE = Path(__file__).parents[1] / "demo" / "sample"
# Time and memory are measured with the sample repeated to 9 minutes, nearly the longest window
# (`transcriber.WINDOW`). Longer recordings are transcribed window by window.
REPEATS = 3
# The value of CLIPFLOW_TRANSCRIBER for each measured transcriber.
_TRANSCRIBERS = {"whisper": "whisper", "whisper-unaligned": "whisper", "whisperx": "whisperx"}
# Upper limits for the default transcriber: percent of words, milliseconds, CPU-seconds per second
# of sound, MB.
TARGETS = {
    "sample-words-wrong-percent": 3.5,
    "real-words-wrong-percent": 5.0,
    "word-starts-median-ms": 30.0,
    "word-starts-90th-percentile-ms": 220.0,
    "cpu-seconds-per-second": 0.2,
    "peak-mb": 700.0,
}

# Hesitations, which Whisper omits, as subtitles usually do.
_FILLERS = {"uh", "um", "hmm", "mm"}
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
# One spelling for each word that is written in several ways.
_SPELLINGS = {
    "mr": "mister",
    "mrs": "missus",
    "ok": "okay",
    "alright": "all right",
    **{str(number): name for number, name in enumerate(_NUMBERS)},
}
# An interval of a TextGrid in its short form: its start, its end and its text, each on a line.
_INTERVAL = re.compile(r'^([\d.]+)\n[\d.]+\n"(.*)"$', re.MULTILINE)


@dataclass(frozen=True)
class TimedWord:
    """A word and its start in seconds."""

    text: str
    start: float


@dataclass(frozen=True)
class Recording:
    """A file to transcribe, with its correct text and the annotated times of its words, if any."""

    path: Path
    text: str
    times: tuple[TimedWord, ...] = ()


# A recording, and the words that a transcriber recognised in it.
Recognized = tuple[Recording, Sequence[Word]]


@dataclass(frozen=True)
class TranscriberRun:
    """The result of a process that transcribed files, in their order.

    `cpu` is the CPU-seconds of each file, and `peak` is the peak memory of the process in MB.
    """

    files: tuple[Recognized, ...]
    cpu: tuple[float, ...]
    peak: float


def benchmark(folder: Path, repeats: int = REPEATS) -> list[Finding]:
    """Measure every available transcriber; `folder` is for temporary files."""
    sample = read_sample()
    longest = sample if repeats == 1 else _repeated(sample, repeats, folder)
    return compare_transcribers(sample, real_recordings(), longest)


def compare_transcribers(
    sample: Recording, real: Sequence[Recording], longest: Recording
) -> list[Finding]:
    """The findings of every transcriber that is installed and has its models.

    CPU time is that of `longest`, which may be the sample; peak memory is that of all files.
    """
    files = [*real, sample] if longest is sample else [*real, sample, longest]
    seconds = float(probe_sound(LocalSource(longest.path)).duration or 0)
    findings = []
    for name in available():
        try:
            done = _run_transcriber(name, files)
        except NotInstalledError as error:
            print(f"{name} is skipped: {error}", file=sys.stderr)
            continue
        findings += [
            *_word_error_rates(name, done.files[len(real)], done.files[: len(real)]),
            *_word_start_errors(name, done.files[: len(real)]),
            *_costs(name, done, seconds),
        ]
    return findings


def available() -> list[str]:
    """The transcribers whose packages are installed."""
    has_whisperx = find_spec("whisperx") is not None
    return [name for name, of in _TRANSCRIBERS.items() if of != "whisperx" or has_whisperx]


def _finding(name: str, what: str, value: float, detail: str) -> Finding:
    target = TARGETS[what] if name == "whisper" else None
    return Finding(f"speech/{name}/{what}", value, target, detail)


def _word_error_rates(name: str, sample: Recognized, real: Sequence[Recognized]) -> list[Finding]:
    found = [_finding(name, "sample-words-wrong-percent", *_word_error_rate([sample]))]
    if real:
        found.append(_finding(name, "real-words-wrong-percent", *_word_error_rate(real)))
    return found


def _word_error_rate(files: Sequence[Recognized]) -> tuple[float, str]:
    """The word error rate in percent, and a text with the numbers of errors and of words."""
    counts = [
        word_errors(spoken.text, " ".join(word.text for word in words)) for spoken, words in files
    ]
    wrong, said = (sum(column) for column in zip(*counts, strict=True))
    return 100 * wrong / said, f"{wrong} of {said} words"


def _word_start_errors(name: str, real: Sequence[Recognized]) -> list[Finding]:
    """The errors of word starts; no findings if no file has annotated word times."""
    errors = [
        1000 * error
        for spoken, words in real
        for error in start_errors(spoken.times, _timed(words))
    ]
    if len(errors) < 2:
        return []
    detail = f"of {len(errors)} words with annotated times"
    return [
        _finding(name, "word-starts-median-ms", median(errors), detail),
        _finding(name, "word-starts-90th-percentile-ms", quantiles(errors, n=10)[-1], detail),
    ]


def _costs(name: str, done: TranscriberRun, seconds: float) -> list[Finding]:
    cpu = done.cpu[-1]
    took = f"{cpu:.1f} s CPU for {seconds:.0f} s of sound, loading the model included"
    return [
        _finding(name, "cpu-seconds-per-second", cpu / seconds, took),
        _finding(name, "peak-mb", done.peak, f"of the process, with {seconds:.0f} s of sound"),
    ]


def normalized_words(text: str) -> list[str]:
    """The words of an English text in one spelling, without case, punctuation and hesitations."""
    words = re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))
    spelled = (_SPELLINGS.get(word, word).split() for word in words if word not in _FILLERS)
    return [word for several in spelled for word in several]


def word_errors(said: str, recognized: str) -> tuple[int, int]:
    """The number of errors in the recognised text, and the number of words in the correct text."""
    expected = normalized_words(said)
    return edit_distance(expected, normalized_words(recognized)), len(expected)


def edit_distance(expected: Sequence[str], found: Sequence[str]) -> int:
    """The Levenshtein distance: the fewest words to insert, delete or replace."""
    row = list(range(len(found) + 1))
    for place, word in enumerate(expected, 1):
        diagonal, row[0] = row[0], place
        for at, other in enumerate(found, 1):
            fewest = min(row[at] + 1, row[at - 1] + 1, diagonal + (word != other))
            diagonal, row[at] = row[at], fewest
    return row[-1]


def start_errors(truth: Sequence[TimedWord], found: Sequence[TimedWord]) -> list[float]:
    """The absolute error of the start of each word that is in both sequences, in seconds."""
    matcher = SequenceMatcher(
        None, [word.text for word in truth], [word.text for word in found], autojunk=False
    )
    return [
        abs(truth[block.a + at].start - found[block.b + at].start)
        for block in matcher.get_matching_blocks()
        for at in range(block.size)
    ]


def _timed(words: Sequence[Word]) -> list[TimedWord]:
    return [
        TimedWord(text, word.start) for word in words for text in normalized_words(word.text)[:1]
    ]


def read_textgrid(path: Path) -> tuple[TimedWord, ...]:
    """The words of the first tier of a TextGrid in its short form, without hesitations."""
    tier = path.read_text(encoding="utf-8").split('"IntervalTier"')[1]
    intervals = (match.groups() for match in _INTERVAL.finditer(tier))
    return tuple(
        TimedWord(text, float(start))
        for start, said in intervals
        for text in normalized_words(said)[:1]
    )


def read_sample() -> Recording:
    """The demo's sample and its text."""
    lines = json.loads((_SAMPLE / "conversation.json").read_text(encoding="utf-8"))
    return Recording(_SAMPLE / "main.mp4", " ".join(line["text"] for line in lines))


def real_recordings() -> list[Recording]:
    """The English recordings of CLIPFLOW_MATERIAL; none if it is not set."""
    if not (material := os.environ.get("CLIPFLOW_MATERIAL")):
        return []
    folder = Path(material, "speech")
    found = []
    for row in json.loads((folder / "texts.json").read_text(encoding="utf-8")):
        if row["language"] == "en":
            path = folder / row["file"]
            grid = path.with_suffix(".TextGrid")
            times = read_textgrid(grid) if grid.exists() else ()
            found.append(Recording(path, row["text"], times))
    return found


def _repeated(spoken: Recording, repeats: int, folder: Path) -> Recording:
    made = folder / "repeated.m4a"
    source = ("-stream_loop", str(repeats - 1), "-i", str(spoken.path))
    ffmpeg(*source, "-map", "0:a", "-c", "copy", str(made))
    return Recording(made, " ".join([spoken.text] * repeats))


def _run_transcriber(name: str, files: Sequence[Recording]) -> TranscriberRun:
    """Run a transcriber in a separate process. Raises NotInstalledError if its model is missing."""
    paths = [str(spoken.path) for spoken in files]
    environment = {"CLIPFLOW_TRANSCRIBER": _TRANSCRIBERS[name]}
    printed = run(sys.executable, "-m", "benchmarks.speech", name, *paths, env=environment).stdout
    answer = json.loads(printed.splitlines()[-1])
    if "missing" in answer:
        raise NotInstalledError(answer["missing"], answer["remedy"])
    words = [[Word.model_validate(word) for word in found] for found in answer["words"]]
    recognized = tuple(zip(files, words, strict=True))
    return TranscriberRun(recognized, tuple(answer["cpu"]), answer["peak"])


def main(name: str, *paths: str) -> None:
    # The modules that a flow run also has in memory.
    import flows.generate_shorts  # noqa: F401
    from clipflow.jobs.transcription import transcribe_file
    from clipflow.settings import models

    transcripts: list[Transcript] = []

    def transcribe(path: Path) -> None:
        transcripts.append(transcribe_file(path, None, models()))

    unaligned = patch("clipflow.speech.whisper.find_aligner", return_value=None)
    with unaligned if name == "whisper-unaligned" else nullcontext():
        try:
            costs = [cost(partial(transcribe, Path(path))) for path in paths]
        except NotInstalledError as error:
            print(json.dumps({"missing": str(error), "remedy": error.remedy}))
            return
    words = [[word.model_dump() for word in one.words] for one in transcripts]
    cpu = [one.cpu for one in costs]
    print(json.dumps({"words": words, "cpu": cpu, "peak": peak_memory_mb()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
