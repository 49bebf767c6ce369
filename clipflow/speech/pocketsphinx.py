"""The embedded listener: PocketSphinx with its own English model, on every core.

PocketSphinx keeps Python's lock while it decodes (two threads took as long as one), so each core
has a process of its own. Each is a program that is told of one utterance after the other: unlike
a forked or spawned worker it imports nothing of its parent, and it ends with it.
"""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from clipflow.domain.errors import InvalidInputError, MediaInterruptedError
from clipflow.domain.transcript import Transcript, Word, read_words
from clipflow.machine import cores
from clipflow.speech.sound import RATE, SAMPLE_BYTES, pieces, samples
from clipflow.telemetry.progress import report

LANGUAGE = "en"
# Samples of the longest utterance (decoding a longer one takes memory and more than its share of
# time), and of the span at its end in which it may be cut: 30 s and 10 s.
_LONGEST, _LEEWAY = 30 * RATE, 10 * RATE


def transcribe(sound: Path, language: str | None = None) -> Transcript:
    """The English words in the file at `sound`; see `transcribe.Transcribe`.

    Raises InvalidInputError for another language, MediaInterruptedError where a listener is killed.
    """
    if language and language.lower().split("-")[0] != LANGUAGE:
        raise InvalidInputError(
            f"PocketSphinx hears English only, not {language!r}.",
            "Set CLIPFLOW_TRANSCRIBER=whisperx, or put an original.srt beside the video.",
        )
    return Transcript(tuple(_heard(sound, list(utterances(sound)))), LANGUAGE)


def utterances(sound: Path) -> Iterator[range]:
    """Where in the file at `sound` someone speaks, in samples."""
    heard = samples(sound)
    for first, last in _speech(sound):
        yield from pieces(heard, first, min(last, len(heard)), _LONGEST, _LEEWAY)


def _speech(sound: Path) -> Iterator[tuple[int, int]]:
    # Imported late: a flow starts without it.
    from pocketsphinx import Endpointer

    endpointer = Endpointer(sample_rate=RATE)
    size, was = endpointer.frame_bytes, False
    with sound.open("rb") as file:
        while len(frame := file.read(size)) == size:
            endpointer.process(frame)
            if was and not endpointer.in_speech:
                yield round(endpointer.speech_start * RATE), round(endpointer.speech_end * RATE)
            was = endpointer.in_speech
        if was:
            yield round(endpointer.speech_start * RATE), file.tell() // SAMPLE_BYTES


def _heard(sound: Path, spans: list[range]) -> list[Word]:
    count = min(cores(), len(spans))
    if not count:
        return []
    idle: SimpleQueue[_Listener] = SimpleQueue()

    def hear(span: range) -> tuple[Word, ...]:
        listener = idle.get()
        try:
            return listener.hear(span)
        finally:
            idle.put(listener)

    with ExitStack() as stack:
        for _ in range(count):
            idle.put(stack.enter_context(closing(_Listener(sound))))
        pool = ThreadPoolExecutor(count)
        # Where one fails the others are not waited for: the listeners are closed under them.
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        words: list[Word] = []
        for span, heard in zip(spans, pool.map(hear, spans), strict=True):
            words += heard
            report(span.stop / spans[-1].stop)
        return words


@dataclass
class _Listener:
    """`decoder.py` as a process: told spans by their samples, it answers with their words."""

    sound: Path
    _process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "clipflow.speech.decoder", str(self.sound)]
        # Its input ends with us, whatever ends us, and then so does it.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def hear(self, span: range) -> tuple[Word, ...]:
        try:
            print(span.start, span.stop, file=self._pipe(self._process.stdin), flush=True)
            answer = self._pipe(self._process.stdout).readline()
        except (BrokenPipeError, ValueError):
            answer = ""
        if not answer:
            raise MediaInterruptedError(
                f"Listening to {self.sound.name}: PocketSphinx stopped ({self._process.wait()}).",
                "What it said is in the log; killed (-9), it had too little memory.",
            )
        return read_words(answer, "PocketSphinx's answer")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe
