"""Settings from environment variables: invalid choices, and the prefix of object keys."""

import pytest

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ClipKeys
from clipflow.settings import Models, Settings, models


def test_an_invalid_choice_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPFLOW_TRANSCRIBER", "somebody")
    models.cache_clear()
    try:
        with pytest.raises(InvalidInputError, match=r"CLIPFLOW_TRANSCRIBER.*whisper.*whisperx"):
            models()
    finally:
        models.cache_clear()


def test_a_leading_slash_of_the_key_prefix_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"BUCKET_NAME": "media", "TABLE_NAME": "records", "KEY_PREFIX": "/studio/"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ClipKeys("t", "e", "c", Settings().key_prefix).clip == "studio/e/clips/c/clip.mp4"


def test_an_empty_variable_of_a_model_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPFLOW_WHISPER_MODEL", "")
    assert Models().whisper_model == "base"
