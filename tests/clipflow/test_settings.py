import pytest

from clipflow.domain.errors import InvalidInput
from clipflow.settings import models


def test_a_choice_that_there_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPFLOW_TRANSCRIBER", "somebody")
    models.cache_clear()
    try:
        with pytest.raises(InvalidInput, match=r"CLIPFLOW_TRANSCRIBER.*pocketsphinx.*whisperx"):
            models()
    finally:
        models.cache_clear()
