"""Reading, writing and applying `edits.json`, with concurrent changes merged."""

import json
import logging
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from clipflow.domain.edits import (
    MAX_BYTES,
    CorrectedTranscript,
    Edits,
    ShortEdit,
    WordSpan,
    corrected,
    corrected_text,
    is_stale,
    merge,
)
from clipflow.domain.errors import EditConflictError, InvalidInputError, SourceNotFoundError
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.model import parse_json
from clipflow.domain.shorts import LONGEST, SHORTEST, Decision, Moment, ShortsConfig
from clipflow.domain.transcript import Word
from clipflow.highlights.pieces import word_span
from clipflow.jobs.transcription import read_transcript
from clipflow.storage.objects import ObjectStore

logger = logging.getLogger(__name__)

# The fields of a short that are used exactly as a person has set them.
_OF_PERSON = {"title", "hook", "description", "hashtags", "decision"}
# Each attempt loses only to another writer.
_ATTEMPTS = 8


@dataclass(frozen=True)
class StoredEdits:
    """The edits and the ETag of their object; None if there is no object yet."""

    edits: Edits
    etag: str | None


def parse_edits(text: str | bytes, name: str) -> Edits:
    """Parses edits. Raises InvalidInputError naming the invalid fields."""
    if len(text) > MAX_BYTES:
        raise InvalidInputError(f"{name} is larger than {MAX_BYTES} bytes.")
    return Edits.read(parse_json(text, name, "Correct it.", unique_names=True), name)


def stored_edits(keys: ShortsKeys, objects: ObjectStore) -> StoredEdits:
    """The edits of a video; none if there is no document. Raises InvalidInputError."""
    head = objects.head(keys.edits)
    while head:
        try:
            text = objects.data(keys.edits, MAX_BYTES)
        except SourceNotFoundError:
            break
        # The object that was read is the one of the HEAD request.
        if (now := objects.head(keys.edits)) and now.etag == head.etag:
            return StoredEdits(parse_edits(text, keys.edits), head.etag)
        head = now
    return StoredEdits(Edits(), None)


def read_edits(keys: ShortsKeys, objects: ObjectStore) -> Edits:
    """The edits of a video; none if there is no document. Raises InvalidInputError."""
    return stored_edits(keys, objects).edits


def store_edits(keys: ShortsKeys, edits: Edits, etag: str | None, objects: ObjectStore) -> str:
    """Store the edits in place of those with this ETag, None for no edits; returns the new ETag.

    Raises EditConflictError if others have been stored meanwhile.
    """
    text = json.dumps(edits.document(), ensure_ascii=False, indent=1)
    if len(text.encode()) > MAX_BYTES:
        raise InvalidInputError(f"{keys.edits} would be larger than {MAX_BYTES} bytes.")
    written = objects.replace_text(text, keys.edits, "application/json", etag)
    if written:
        return written
    now = stored_edits(keys, objects)
    if now.etag and now.edits == edits:
        # The SDK has retried after a lost response, or another writer made the same changes.
        return now.etag
    raise EditConflictError(
        f"{keys.edits} was changed by somebody else meanwhile, and nothing of yours is stored.",
        "Read it again, and make your changes in it.",
    )


def change_edits(
    keys: ShortsKeys, objects: ObjectStore, change: Callable[[Edits], Edits]
) -> StoredEdits:
    """Change the newest edits, and repeat that if another writer stores edits meanwhile.

    Raises what `change` raises, and EditConflictError after several conflicts.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        before = stored_edits(keys, objects)
        edits = change(before.edits)
        if edits == before.edits:
            return before
        try:
            return StoredEdits(edits, store_edits(keys, edits, before.etag, objects))
        except EditConflictError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def overlay(stored: Edits, document: Mapping[str, Any], name: str) -> Edits:
    """`stored` with every field of `document`, which takes precedence if both have a field."""
    merged, _ = merge({}, document, stored.document())
    return Edits.read(merged, name)


def read_corrected(keys: ShortsKeys, objects: ObjectStore) -> CorrectedTranscript:
    """The transcript with the corrections of the edits."""
    return corrected(read_transcript(keys, objects), read_edits(keys, objects))


def with_edits(
    moments: Sequence[Moment], edits: Edits, words: Sequence[Word], name: str
) -> list[Moment]:
    """The moments with the user's edits; edits for another transcript are logged and ignored.

    `words` are those recognised, without corrections. Raises InvalidInputError, which names
    the field, for a span that is too short or too long.
    """
    unknown = set(edits.shorts) - {moment.id for moment in moments}
    if unknown:
        logger.warning("%s names no short of this video: %s.", name, ", ".join(sorted(unknown)))
    return [
        _with_edit(
            _corrected_moment(moment, edits, words),
            edits.shorts.get(moment.id or "", ShortEdit()),
            words,
            name,
        )
        for moment in moments
    ]


def _corrected_moment(moment: Moment, edits: Edits, words: Sequence[Word]) -> Moment:
    """The moment with its chosen title and other texts corrected as its words are."""
    if not (edits.words or edits.replacements):
        return moment
    first, after = (
        bisect_left(words, float(time), key=lambda word: word.start)
        for time in (moment.start, moment.end)
    )
    changes: dict[str, Any] = {}
    for field in ("title", "description"):
        if text := getattr(moment, field):
            changes[field] = corrected_text(text, words, range(first, after), edits)
    return moment.model_copy(update=changes)


def _with_edit(moment: Moment, edit: ShortEdit, words: Sequence[Word], name: str) -> Moment:
    changes: dict[str, Any] = edit.model_dump(include=_OF_PERSON, exclude_none=True)
    if edit.span and is_stale(edit.span, words):
        logger.warning("%s: shorts.%s.span is for another transcript.", name, moment.id)
    elif edit.span:
        times = span_times(edit.span, words, f"{name} is not valid: shorts.{moment.id}.span")
        changes |= dict(zip(("start", "end"), times, strict=True))
    return moment.model_copy(update=changes)


def span_times(
    span: WordSpan, words: Sequence[Word], what: str = "The span"
) -> tuple[Fraction, Fraction]:
    """The start and end of a span in seconds, in the pauses around its words.

    Raises InvalidInputError beginning with `what` if it is shorter than `SHORTEST` seconds or
    longer than `LONGEST`.
    """
    start, end = word_span(words, span.first, span.last)
    if not SHORTEST <= end - start <= LONGEST:
        raise InvalidInputError(
            f"{what}: it lasts {float(end - start):.1f} s, and a short lasts "
            f"{SHORTEST} to {LONGEST}.",
            "Choose other words.",
        )
    return start, end


def words_between(words: Sequence[Word], start: float, end: float) -> WordSpan:
    """The words whose middle lies in `start ≤ t < end` of the video, as a span.

    Raises InvalidInputError if there are none, or the span is too short or too long.
    """
    middles = ((n, (word.start + word.end) / 2) for n, word in enumerate(words))
    inside = [n for n, middle in middles if start <= middle < end]
    if not inside:
        raise InvalidInputError(
            f"Nothing is said from {start:.1f} to {end:.1f} s.", "Choose other times."
        )
    first, last = inside[0], inside[-1]
    span = WordSpan(
        first=first, last=last, first_word=words[first].text, last_word=words[last].text
    )
    span_times(span, words)
    return span


def config_of(config: ShortsConfig, edit: ShortEdit | None) -> ShortsConfig:
    """The config of one short: the video's, with the layout, captions and tightening of its
    edit."""
    if edit is None:
        return config
    changes = edit.model_dump(include={"layout", "caption_style", "tighten"}, exclude_none=True)
    return config.model_copy(update=changes)


def refused_ids(edits: Edits) -> frozenset[str]:
    """The ids of the moments that are not to be rendered."""
    return frozenset(id for id, edit in edits.shorts.items() if edit.decision is Decision.REFUSED)
