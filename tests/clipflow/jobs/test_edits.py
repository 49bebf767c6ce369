"""Edits in the bucket: written by two people at once, for another transcript, and out of bounds."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from threading import Barrier, Thread

import pytest

from clipflow.domain.edits import Edits, ShortEdit, WordCorrection
from clipflow.domain.errors import EditConflictError, InvalidInputError
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Moment
from clipflow.domain.transcript import Transcript, Word, spread_words
from clipflow.jobs.edits import change_edits, overlay, store_edits, stored_edits, with_edits
from clipflow.jobs.posts import with_texts
from clipflow.storage.objects import ObjectStore

WORDS = [Word(text=f"w{n}", start=n, end=n + 0.4) for n in range(2000)]
ID = "m1000-9000"
MOMENT = Moment(id=ID, index=1, start=Fraction(1), end=Fraction(9), score=1, why="", title="Old")


@pytest.fixture
def keys(tmp_path: Path) -> ShortsKeys:
    return ShortsKeys("u", tmp_path.name, "warehouse")


def edits(**title_of: str) -> Edits:
    return Edits(shorts={id: ShortEdit(title=title) for id, title in title_of.items()})


def test_the_slower_of_two_editors_gets_a_conflict_and_loses_nothing(
    keys: ShortsKeys, objects: ObjectStore
) -> None:
    ours, theirs = edits(**{"m1-2": "Ours"}), edits(**{"m3-4": "Theirs"})
    assert stored_edits(keys, objects) == stored_edits(keys, objects)
    first = store_edits(keys, ours, None, objects)
    for etag in (None, "0" * 32):
        with pytest.raises(EditConflictError, match="somebody else"):
            store_edits(keys, theirs, etag, objects)
    assert stored_edits(keys, objects).edits == ours
    # A write that is repeated because its response was lost is not a conflict.
    assert store_edits(keys, ours, None, objects) == first
    assert store_edits(keys, theirs, first, objects) != first
    assert stored_edits(keys, objects).edits == theirs


def test_changes_that_are_made_at_the_same_time_are_all_kept(
    keys: ShortsKeys, objects: ObjectStore
) -> None:
    start = Barrier(4)

    def write(number: int) -> None:
        def change(now: Edits) -> Edits:
            word = WordCorrection(original="a", text=f"b{number}")
            return now.model_copy(update={"words": {**now.words, str(number): word}})

        start.wait()
        change_edits(keys, objects, change)

    threads = [Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(stored_edits(keys, objects).edits.words) == {"0", "1", "2", "3"}


def test_a_file_of_edits_overrides_stored_edits_field_by_field() -> None:
    stored = Edits.read(
        {"shorts": {ID: {"title": "Old", "hook": "Stays"}}, "replacements": {"a": "b"}}, "it"
    )
    found = overlay(stored, {"version": 1, "shorts": {ID: {"title": "New"}}}, "edits.json")
    assert found.shorts[ID] == ShortEdit(title="New", hook="Stays")
    assert found.replacements == {"a": "b"}


def edited(span: Mapping[str, object], words: Sequence[Word] = WORDS) -> Moment:
    document = Edits.read({"shorts": {ID: {"span": span}}}, "edits.json")
    [moment] = with_edits([MOMENT], document, words, "edits.json")
    return moment


def test_a_span_begins_and_ends_in_the_pauses_around_its_words() -> None:
    moved = edited({"first": 3, "last": 7, "first_word": "w3"})
    assert (moved.start, moved.end) == (Fraction("2.75"), Fraction("7.7"))
    close = [Word(text="a", start=0, end=1), Word(text="b", start=1, end=3)]
    assert edited({"first": 1, "last": 1}, close).start == 1


@pytest.mark.parametrize("last", [3, 1200])
def test_a_span_is_bounded(last: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"shorts\.{ID}\.span: it lasts .* 1 to 900"):
        edited({"first": 3, "last": last})


def test_a_span_of_another_transcript_is_not_applied(caplog: pytest.LogCaptureFixture) -> None:
    assert edited({"first": 3, "last": 9999}) == MOMENT
    assert edited({"first": 3, "last": 7, "first_word": "else"}) == MOMENT
    assert f"shorts.{ID}.span is for another transcript" in caplog.text


def test_an_edit_of_an_unknown_short_is_logged_and_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    document = edits(**{"m7-8": "Nothing"})
    assert with_edits([MOMENT], document, WORDS, "edits.json") == [MOMENT]
    assert "names no short of this video: m7-8" in caplog.text


def test_texts_follow_corrections_of_words_except_texts_that_a_user_wrote() -> None:
    text = "Today Jon Smith meets the clip flow people in the the Lisbon office. It rains there."
    words = spread_words(text.split(), 0, 12)
    moment = Moment(
        id=ID,
        index=1,
        start=Fraction(0),
        end=Fraction(13),
        score=1,
        why="",
        title="Jon Smith meets",
    )
    correction = {"original": "Jon", "text": "John"}
    document = {"words": {"1": correction}, "replacements": {"clip flow": "clipflow"}}

    def texts(shorts: Mapping[str, object], title: str) -> tuple[str, str, tuple[str, ...]]:
        edits = Edits.read({**document, "shorts": shorts}, "edits.json")
        chosen = [moment.model_copy(update={"title": title})]
        edited = with_edits(chosen, edits, words, "edits.json")
        [found] = with_texts(edited, edits, Transcript(tuple(words), "en"))
        assert found.description is not None
        assert found.hashtags is not None
        return found.title, found.description, found.hashtags

    title, description, hashtags = texts({}, "Jon Smith meets the clip flow people…")
    assert title == "John Smith meets the clipflow people…"
    assert description.startswith("Today John Smith meets the clipflow people")
    assert "JohnSmith" in hashtags
    # Of two words only one is corrected, so it is uncertain which of them is meant.
    document["words"]["7"] = {"original": "the", "text": "this"}  # type: ignore[index]
    assert texts({}, "In the office")[0] == "In the office"
    own = {"title": "Jon", "description": "Jon", "hashtags": ["#Jon", "a_b"]}
    assert texts({ID: own}, "Jon") == ("Jon", "Jon", ("Jon", "a_b"))
    assert texts({ID: {"description": "", "hashtags": []}}, "Jon")[1:] == ("", ())
