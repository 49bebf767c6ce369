"""How well each transcriber recognises speech, and at what cost.

    python -m benchmarks.speech TRANSCRIBER FILE…

is the process of one transcriber: it prints the words of each file, what they took and the peak of
its memory, as JSON.

The demo's sample is always transcribed. Where the environment variable CLIPFLOW_MATERIAL names a
folder with real speech, that is too: `speech/texts.json` in it has rows `{file, language, text}`,
and beside a sound with word times made by hand is a TextGrid of the same name, as Praat and the
Montreal Forced Aligner write it.
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

from benchmarks.measure import Finding, cost, own_peak
from benchmarks.programs import ffmpeg, run
from clipflow.domain.errors import NotInstalledError
from clipflow.domain.transcript import Transcript, Word
from clipflow.media.probe import probe_sound
from clipflow.media.source import LocalSource

_SAMPLE = Path(__file__).parents[1] / "demo" / "sample"
# How often the sample is repeated where time and memory are measured: to 9 minutes, nearly the
# longest window of a transcript (`transcriber.WINDOW`). What is longer goes window by window.
REPEATS = 3
# What is measured, and the value of CLIPFLOW_TRANSCRIBER for it.
_TRANSCRIBERS = {"whisper": "whisper", "whisper-unaligned": "whisper", "whisperx": "whisperx"}
# Of the default one: percent of words, milliseconds, CPU-seconds for a second of sound, MB.
TARGETS = {
    "sample-words-wrong-percent": 3.5,
    "real-words-wrong-percent": 5.0,
    "word-starts-median-ms": 30.0,
    "word-starts-90th-percentile-ms": 220.0,
    "cpu-seconds-per-second": 0.2,
    "peak-mb": 700.0,
}

# Hesitation, which Whisper leaves out as people do who write subtitles.
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
# An interval of a TextGrid in its short form, a line each: when it begins and ends, and its text.
_INTERVAL = re.compile(r'^([\d.]+)\n[\d.]+\n"(.*)"$', re.MULTILINE)


@dataclass(frozen=True)
class Timed:
    """A word, and when it starts, in seconds."""

    text: str
    start: float


@dataclass(frozen=True)
class Spoken:
    """A file to transcribe: what is said in it, and when, where that is known."""

    path: Path
    text: str
    times: tuple[Timed, ...] = ()


# A file, and the words that a transcriber found in it.
Recognized = tuple[Spoken, Sequence[Word]]


@dataclass(frozen=True)
class Transcribed:
    """What a transcriber made of files, in their order.

    `processor` is in CPU-seconds for each file, `peak` the process's largest memory, in MB.
    """

    files: tuple[Recognized, ...]
    processor: tuple[float, ...]
    peak: float


def measured(folder: Path, repeats: int = REPEATS) -> list[Finding]:
    """Rows for every transcriber at hand; `folder` is for temporary files."""
    sample = read_sample()
    longest = sample if repeats == 1 else _repeated(sample, repeats, folder)
    return compared(sample, real_speech(), longest)


def compared(sample: Spoken, real: Sequence[Spoken], longest: Spoken) -> list[Finding]:
    """Rows for every transcriber that is installed and has its models.

    Time is taken for `longest`, which may be the sample, and memory for all together.
    """
    files = [*real, sample] if longest is sample else [*real, sample, longest]
    seconds = float(probe_sound(LocalSource(longest.path)).duration or 0)
    findings = []
    for name in available():
        try:
            done = _transcribed(name, files)
        except NotInstalledError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        findings += [
            *_words_wrong(name, done.files[len(real)], done.files[: len(real)]),
            *_word_starts(name, done.files[: len(real)]),
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


def _words_wrong(name: str, sample: Recognized, real: Sequence[Recognized]) -> list[Finding]:
    found = [_finding(name, "sample-words-wrong-percent", *_share_wrong([sample]))]
    if real:
        found.append(_finding(name, "real-words-wrong-percent", *_share_wrong(real)))
    return found


def _share_wrong(files: Sequence[Recognized]) -> tuple[float, str]:
    """The percentage of words that are wrong, and how many they are of how many."""
    counts = [
        word_errors(spoken.text, " ".join(word.text for word in words)) for spoken, words in files
    ]
    wrong, said = (sum(column) for column in zip(*counts, strict=True))
    return 100 * wrong / said, f"{wrong} of {said} words"


def _word_starts(name: str, real: Sequence[Recognized]) -> list[Finding]:
    """Nothing if no file has word times made by hand."""
    errors = [
        1000 * error
        for spoken, words in real
        for error in start_errors(spoken.times, _timed(words))
    ]
    if len(errors) < 2:
        return []
    detail = f"of {len(errors)} words with times made by hand"
    return [
        _finding(name, "word-starts-median-ms", median(errors), detail),
        _finding(name, "word-starts-90th-percentile-ms", quantiles(errors, n=10)[-1], detail),
    ]


def _costs(name: str, done: Transcribed, seconds: float) -> list[Finding]:
    processor = done.processor[-1]
    took = f"{processor:.1f} s CPU for {seconds:.0f} s of sound, loading the model included"
    return [
        _finding(name, "cpu-seconds-per-second", processor / seconds, took),
        _finding(name, "peak-mb", done.peak, f"of the process, with {seconds:.0f} s of sound"),
    ]


def plain_words(text: str) -> list[str]:
    """The words of an English text in one spelling, without case, punctuation and hesitation."""
    words = re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))
    spelled = (_SPELLINGS.get(word, word).split() for word in words if word not in _FILLERS)
    return [word for several in spelled for word in several]


def word_errors(said: str, recognized: str) -> tuple[int, int]:
    """The fewest words to insert, leave out or replace between two texts, and the words said."""
    expected = plain_words(said)
    return edit_distance(expected, plain_words(recognized)), len(expected)


def edit_distance(expected: Sequence[str], found: Sequence[str]) -> int:
    """The fewest words to insert, leave out or replace that make one of the other."""
    row = list(range(len(found) + 1))
    for place, word in enumerate(expected, 1):
        diagonal, row[0] = row[0], place
        for at, other in enumerate(found, 1):
            fewest = min(row[at] + 1, row[at - 1] + 1, diagonal + (word != other))
            diagonal, row[at] = row[at], fewest
    return row[-1]


def start_errors(truth: Sequence[Timed], found: Sequence[Timed]) -> list[float]:
    """How far from the truth each word starts that is in both, in seconds."""
    matcher = SequenceMatcher(
        None, [word.text for word in truth], [word.text for word in found], autojunk=False
    )
    return [
        abs(truth[block.a + at].start - found[block.b + at].start)
        for block in matcher.get_matching_blocks()
        for at in range(block.size)
    ]


def _timed(words: Sequence[Word]) -> list[Timed]:
    return [Timed(text, word.start) for word in words for text in plain_words(word.text)[:1]]


def read_textgrid(path: Path) -> tuple[Timed, ...]:
    """The words of the first tier of a TextGrid in its short form, without hesitation."""
    tier = path.read_text(encoding="utf-8").split('"IntervalTier"')[1]
    intervals = (match.groups() for match in _INTERVAL.finditer(tier))
    return tuple(
        Timed(text, float(start)) for start, said in intervals for text in plain_words(said)[:1]
    )


def read_sample() -> Spoken:
    """The demo's sample."""
    lines = json.loads((_SAMPLE / "conversation.json").read_text(encoding="utf-8"))
    return Spoken(_SAMPLE / "main.mp4", " ".join(line["text"] for line in lines))


def real_speech() -> list[Spoken]:
    """The English files of CLIPFLOW_MATERIAL; none if it is not set."""
    if not (material := os.environ.get("CLIPFLOW_MATERIAL")):
        return []
    folder = Path(material, "speech")
    found = []
    for row in json.loads((folder / "texts.json").read_text(encoding="utf-8")):
        if row["language"] == "en":
            path = folder / row["file"]
            grid = path.with_suffix(".TextGrid")
            times = read_textgrid(grid) if grid.exists() else ()
            found.append(Spoken(path, row["text"], times))
    return found


def _repeated(spoken: Spoken, repeats: int, folder: Path) -> Spoken:
    made = folder / "repeated.m4a"
    source = ("-stream_loop", str(repeats - 1), "-i", str(spoken.path))
    ffmpeg(*source, "-map", "0:a", "-c", "copy", str(made))
    return Spoken(made, " ".join([spoken.text] * repeats))


def _transcribed(name: str, files: Sequence[Spoken]) -> Transcribed:
    """Raises NotInstalledError if the transcriber has no model."""
    paths = [str(spoken.path) for spoken in files]
    environment = {"CLIPFLOW_TRANSCRIBER": _TRANSCRIBERS[name]}
    printed = run(sys.executable, "-m", "benchmarks.speech", name, *paths, env=environment).stdout
    answer = json.loads(printed.splitlines()[-1])
    if "missing" in answer:
        raise NotInstalledError(answer["missing"], answer["remedy"])
    words = [[Word.model_validate(word) for word in found] for found in answer["words"]]
    recognized = tuple(zip(files, words, strict=True))
    return Transcribed(recognized, tuple(answer["processor"]), answer["peak"])


def main(name: str, *paths: str) -> None:
    # What a flow run of the product has in memory besides.
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
    processor = [one.processor for one in costs]
    print(json.dumps({"words": words, "processor": processor, "peak": own_peak()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
