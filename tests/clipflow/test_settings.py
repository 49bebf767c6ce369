import pytest

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ClipKeys
from clipflow.settings import Settings, models


def test_an_invalid_choice_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPFLOW_TRANSCRIBER", "somebody")
    models.cache_clear()
    try:
        with pytest.raises(InvalidInputError, match=r"CLIPFLOW_TRANSCRIBER.*whisper.*whisperx"):
            models()
    finally:
        models.cache_clear()


def test_no_key_begins_with_the_slash_of_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"BUCKET_NAME": "media", "TABLE_NAME": "records", "KEY_PREFIX": "/studio/"}
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    assert ClipKeys("t", "e", "c", Settings().key_prefix).clip == "studio/e/clips/c/clip.mp4"
