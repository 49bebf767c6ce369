"""Reads subtitles in tests, and writes SubRip."""

from clipflow.domain.transcript import Transcript
from clipflow.subtitles.reading import read_subtitles


def read(text: str, name: str = "original.srt", language: str | None = None) -> Transcript:
    return read_subtitles(text.encode(), name, language)


def text_of(transcript: Transcript) -> str:
    return " ".join(word.text for word in transcript.words)


def start_of(transcript: Transcript, text: str) -> float:
    return next(word.start for word in transcript.words if word.text == text)


def srt(*cues: tuple[str, str, str]) -> str:
    return "\n".join(
        f"{number}\n{start} --> {end}\n{text}\n"
        for number, (start, end, text) in enumerate(cues, 1)
    )
