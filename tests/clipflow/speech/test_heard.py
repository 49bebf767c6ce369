"""Whoever waits for a transcript hears how much of the sound is heard."""

import os
from pathlib import Path

import pytest

from clipflow.media.probe import probe_source
from clipflow.media.source import LocalSource
from clipflow.speech import audio, pocketsphinx
from clipflow.speech.sound import RATE, SAMPLE_BYTES
from clipflow.telemetry.progress import reporting_to
from tests.clipflow.speech.conftest import SAMPLE

pytestmark = pytest.mark.slow


def test_reading_the_sound_and_hearing_it_are_told(tmp_path: Path) -> None:
    read: list[float] = []
    heard: list[float] = []
    source, path = LocalSource(SAMPLE / "main.mp4"), tmp_path / "sound"
    with reporting_to(read.append):
        audio.extract(source, probe_source(source), path)
    assert len(read) > 10 and read == sorted(read) and read[-1] > 0.9
    os.truncate(path, 12 * RATE * SAMPLE_BYTES)
    with reporting_to(heard.append):
        assert pocketsphinx.transcribe(path).words
    assert len(heard) > 1 and heard == sorted(heard) and heard[-1] == 1
