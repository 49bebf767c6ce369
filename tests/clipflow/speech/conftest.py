"""Fixtures of the demo's sample: its sound, and the lines that are spoken in it."""

import json
import os
import re
from pathlib import Path

import pytest

from benchmarks.speech import edit_distance
from clipflow.domain.timecode import parse_timecode
from clipflow.media.probe import probe_source
from clipflow.media.source import LocalSource
from clipflow.speech import audio
from clipflow.speech.audio import RATE, SAMPLE_BYTES

# The part of the sample that is used: the whole sample takes longer and tests nothing more.
SECONDS = 64
SAMPLE = Path(__file__).parents[3] / "demo" / "sample"


@pytest.fixture(scope="session")
def sample_sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = LocalSource(SAMPLE / "main.mp4")
    path = tmp_path_factory.mktemp("sample") / "sound"
    audio.extract(source, probe_source(source), path)
    os.truncate(path, SECONDS * RATE * SAMPLE_BYTES)
    return path


@pytest.fixture(scope="session")
def spoken() -> list[tuple[float, float, str]]:
    """Start, end and text of each line that is spoken in the sample."""
    lines = json.loads((SAMPLE / "conversation.json").read_text())
    whole = [
        (
            float(parse_timecode(line["startTime"])),
            float(parse_timecode(line["endTime"])),
            line["text"],
        )
        for line in lines
    ]
    return [line for line in whole if line[1] < SECONDS]


def word_error_rate(expected: str, recognized: str) -> float:
    """The insertions, deletions and substitutions per expected word."""
    words = plain_words(expected)
    return edit_distance(words, plain_words(recognized)) / len(words)


def plain_words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))
