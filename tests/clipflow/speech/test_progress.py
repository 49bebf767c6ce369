"""Reading a sound and recognising it report their progress."""

import os
from pathlib import Path

import pytest

from clipflow.media.probe import probe_source
from clipflow.media.source import LocalSource
from clipflow.settings import Models
from clipflow.speech import audio
from clipflow.speech.audio import RATE, SAMPLE_BYTES
from clipflow.speech.transcriber import transcribe
from clipflow.telemetry.progress import reporting_to
from tests.clipflow.speech.conftest import SAMPLE

pytestmark = pytest.mark.slow


def test_progress_is_reported_from_beginning_to_end(tmp_path: Path) -> None:
    read: list[float] = []
    reported: list[float] = []
    source, path = LocalSource(SAMPLE / "main.mp4"), tmp_path / "sound"
    with reporting_to(read.append):
        audio.extract(source, probe_source(source), path)
    assert len(read) > 10 and read == sorted(read) and read[-1] > 0.9
    os.truncate(path, 12 * RATE * SAMPLE_BYTES)
    with reporting_to(reported.append):
        assert transcribe(path, "en", Models()).words
    assert len(reported) > 1 and reported == sorted(reported) and reported[-1] == 1
