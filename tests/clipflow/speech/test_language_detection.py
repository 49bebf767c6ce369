"""Detection of the language from excerpts of the sound."""

import logging
from pathlib import Path

import numpy as np
import pytest

from clipflow.domain.transcript import Word
from clipflow.speech.audio import RATE, Samples
from clipflow.speech.transcriber import detect_language


class Detector:
    """Gives every excerpt the same language and probability."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def detect_language(self, sound: Samples) -> tuple[str, float]:
        return "nn", self.probability

    def recognize(self, sound: Samples, language: str, threads: int = 1) -> list[Word]:
        raise NotImplementedError


@pytest.mark.parametrize(("probability", "warnings"), [(0.2, 1), (0.95, 0)])
def test_an_uncertain_language_is_reported(
    probability: float, warnings: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sound").write_bytes(np.zeros(3 * RATE, np.int16).tobytes())
    with caplog.at_level(logging.WARNING):
        assert detect_language(Detector(probability), tmp_path / "sound") == "nn"
    assert len(caplog.messages) == warnings
    assert all("'nn' has a probability of 0.20" in message for message in caplog.messages)
