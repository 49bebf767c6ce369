"""Who says each word, from the turns that diarization found."""

from collections.abc import Sequence
from typing import Any

from clipflow.domain.transcript import Word


def told_apart(words: Sequence[Word], turns: Any) -> list[Word]:
    """`words` with their speakers, from WhisperX's table of turns (`start`, `end`, `speaker`).

    A word between turns belongs to whoever spoke before it, or, at the beginning, after it.
    """
    import whisperx

    rows = [{"start": word.start, "end": word.end} for word in words]
    whole = {"start": words[0].start, "end": words[-1].end, "words": rows}
    whisperx.assign_word_speakers(turns, {"segments": [whole]})
    names: list[str | None] = [row.get("speaker") for row in rows]  # type: ignore[misc]
    current = next((name for name in names if name), None)
    spoken = []
    for word, name in zip(words, names, strict=True):
        current = name or current
        spoken.append(word.model_copy(update={"speaker": current}))
    return spoken
