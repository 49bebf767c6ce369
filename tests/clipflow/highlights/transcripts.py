"""Transcripts for tests, generated from texts with times."""

import json
from pathlib import Path

from clipflow.domain.timecode import parse_timecode
from clipflow.domain.transcript import Transcript, Word

SAMPLE = Path(__file__).parents[3] / "demo" / "sample" / "conversation.json"


def sample_lines() -> list[tuple[float, float, str, str]]:
    """Start, end, speaker and text of each line of the demo's sample."""
    return [
        (
            float(parse_timecode(line["startTime"])),
            float(parse_timecode(line["endTime"])),
            line["speaker"],
            line["text"],
        )
        for line in json.loads(SAMPLE.read_text())
    ]


def sample() -> Transcript:
    words = [word for line in sample_lines() for word in spread(*line)]
    return Transcript(tuple(words), "en")


def spread(start: float, end: float, speaker: str | None, text: str) -> list[Word]:
    """The words of `text`, each with a duration in proportion to its length."""
    parts = text.split()
    letter = (end - start) / sum(map(len, parts))
    words = []
    for part in parts:
        stop = start + letter * len(part)
        words.append(Word(text=part, start=round(start, 3), end=round(stop, 3), speaker=speaker))
        start = stop
    return words
