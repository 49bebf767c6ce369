"""`edits.json` as a document: what it refuses, how two are merged, and corrected words."""

import json
from typing import Any

import jsonschema
import pytest

from clipflow.domain.edits import Edits, corrected, merge
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import parse_json
from clipflow.domain.transcript import Transcript, Word
from clipflow.jobs.edits import parse_edits
from docs import make_schemas

ID = "m1000-9000"
WHOLE = {
    "version": 1,
    "words": {"3": {"original": "Jon", "text": "John"}, "4": {"original": "uh", "text": ""}},
    "replacements": {"clip flow": "clipflow"},
    "shorts": {
        ID: {
            "decision": "approved",
            "span": {"first": 2, "last": 9, "first_word": "So", "last_word": "end."},
            "title": "كل شيء <b>here</b> 🙂",
            "hook": "Wait for it",
            "description": "Two\nlines",
            "layout": "split",
            "caption_style": "plain",
            "tighten": True,
            "restored": {"w4": "uh", "p9": "end."},
            "framing": [
                {"start": 1, "end": 2.5, "person": 2},
                {"start": 3.0, "end": 4.0, "place": {"x": 0.25, "y": 0.5}},
            ],
        }
    },
}


def read(document: Any) -> Edits:
    return Edits.read(parse_json(json.dumps(document), "edits.json"), "edits.json")


def test_a_complete_document_is_read_and_written() -> None:
    assert json.loads(json.dumps(read(WHOLE).document())) == WHOLE


def test_the_schema_accepts_and_refuses_the_same_documents() -> None:
    schema = json.loads(make_schemas.schemas()["docs/schemas/edits.schema.json"])
    jsonschema.validate(WHOLE, schema)
    for document in ({"colour": "red"}, {"version": 2}, of_short(title="x" * 201)):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document, schema)


def of_short(**fields: Any) -> dict[str, Any]:
    return {"shorts": {ID: fields}}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "valid"),
        ({"version": 2}, "version"),
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"words": {"-1": {"original": "a", "text": "b"}}}, "words.-1"),
        ({"words": {"../x": {"original": "a", "text": "b"}}}, "words.../x"),
        ({"words": {"1": {"original": "a", "text": "b" * 10_000}}}, "words.1.text"),
        ({"words": {str(n): {"original": "a", "text": "b"} for n in range(20_001)}}, "words"),
        ({"words": {"a\u202eb": {"original": "a", "text": "b"}}}, "words.a\ufffdb"),
        ({"replacements": {"": "x"}}, "replacements"),
        ({"replacements": {" ": "x"}}, "replacements"),
        ({"replacements": {"a b c d e f g h i j k": "x"}}, "replacements"),
        ({"shorts": {"../../etc": {}}}, "shorts.../../etc"),
        ({"shorts": {f"m{n}-{n}": {} for n in range(2001)}}, "shorts"),
        (of_short(title="x" * 10_000), f"shorts.{ID}.title"),
        (of_short(title=" "), f"shorts.{ID}.title"),
        (of_short(title="\u200b \u2060"), f"shorts.{ID}.title"),
        (of_short(title="two\nlines"), f"shorts.{ID}.title"),
        (of_short(title="a\u202ereversed"), f"shorts.{ID}.title"),
        (of_short(hook="a\u0000b"), f"shorts.{ID}.hook"),
        (of_short(description="\u2066x"), f"shorts.{ID}.description"),
        (of_short(title=7), f"shorts.{ID}.title"),
        (of_short(decision="maybe"), f"shorts.{ID}.decision"),
        (of_short(tighten="yes"), f"shorts.{ID}.tighten"),
        (of_short(restored={"x1": "uh"}), f"shorts.{ID}.restored.x1"),
        (of_short(restored={"w1": ""}), f"shorts.{ID}.restored.w1"),
        (of_short(layout="/etc/passwd"), f"shorts.{ID}.layout"),
        (of_short(span={"first": 5, "last": 4}), f"shorts.{ID}.span"),
        (of_short(span={"first": True, "last": 4}), f"shorts.{ID}.span.first"),
        (of_short(span={"first": 0, "last": 1e9}), f"shorts.{ID}.span.last"),
        (of_short(framing=[{"start": True, "end": 2, "person": 1}]), "framing.0.start"),
        (of_short(framing=[{"start": 0, "end": "2", "person": 1}]), "framing.0.end"),
        (of_short(framing=[{"start": 0, "end": 1}]), f"shorts.{ID}.framing.0"),
        (of_short(framing=[{"start": float("nan"), "end": 1, "person": 1}]), "framing.0.start"),
        (
            of_short(framing=[{"start": 0, "end": 1, "place": {"x": float("nan"), "y": 0}}]),
            "framing.0.place.x",
        ),
        (of_short(framing=[{"start": 0, "end": 1, "person": 1}] * 101), "framing"),
    ],
)
def test_an_invalid_document_is_refused_with_the_name_of_the_field(
    document: Any, field: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read(document)
    assert field in refused.value.message
    assert len(refused.value.message) < 2000


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"words": {"1": {"original": "a", "text": "b"}, "1": {"original": "a", "text": "c"}}}',
         "words.1"),
        (f'{{"shorts": {{"{ID}": {{"title": "a"}}, "{ID}": {{"hook": "b"}}}}}}', f"shorts.{ID}"),
        (f'{{"shorts": {{"{ID}": {{"title": "a", "title": "b"}}}}}}', f"shorts.{ID}.title"),
        ('{"version": 1, "version": 1}', "version"),
    ],
)  # fmt: skip
def test_a_name_that_is_there_twice_is_refused(text: str, field: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{field}: it is there twice"):
        parse_edits(text, "edits.json")


def test_edits_of_two_people_are_merged_field_by_field() -> None:
    base = {"shorts": {ID: {"title": "Old", "layout": "fit"}}, "replacements": {"a": "b"}}
    mine = {"shorts": {ID: {"title": "Mine", "layout": "fit"}}}
    theirs: dict[str, Any] = {
        "shorts": {ID: {"title": "Old", "layout": "crop", "hook": "New"}},
        "replacements": {"a": "b"},
    }
    merged, conflicts = merge(base, mine, theirs)
    assert merged == {"shorts": {ID: {"title": "Mine", "layout": "crop", "hook": "New"}}}
    assert conflicts == []
    theirs = {"shorts": {ID: {"title": "Theirs"}}, "replacements": {"a": "b", "c": "d"}}
    merged, conflicts = merge(base, mine, theirs)
    assert conflicts == [f"shorts.{ID}.title"]
    assert merged == {"shorts": {ID: {"title": "Mine"}}, "replacements": {"c": "d"}}
    # Mine has no edit of the short any more, and theirs has another field of it.
    merged, conflicts = merge(mine, {}, {"shorts": {ID: {**mine["shorts"][ID], "hook": "New"}}})
    assert (merged, conflicts) == ({"shorts": {ID: {"hook": "New"}}}, [])


def transcript(text: str) -> Transcript:
    return Transcript(
        tuple(
            Word(text=word, start=n, end=n + 0.8, score=0.4, speaker="A")
            for n, word in enumerate(text.split())
        ),
        "en",
    )


def corrected_texts(text: str, **edits: Any) -> list[str]:
    return [word.text for word in corrected(transcript(text), read(edits)).transcript.words]


def test_a_word_is_corrected_only_if_its_original_text_matches() -> None:
    words = {"1": {"original": "Jon", "text": "John"}, "2": {"original": "said", "text": "says"}}
    found = corrected(transcript("and Jon spoke"), read({"words": words}))
    assert found.transcript.text == "and John spoke"
    assert found.stale == (2,)
    assert [word.score for word in found.transcript.words] == [0.4, 1.0, 0.4]
    assert corrected_texts("and Jon", words={"9": {"original": "x", "text": "y"}}) == ["and", "Jon"]


def test_a_corrected_word_may_become_several_or_none_within_its_time() -> None:
    words = {"0": {"original": "NewYork", "text": "New York"}, "1": {"original": "uh", "text": ""}}
    found = corrected(transcript("NewYork uh calls"), read({"words": words}))
    assert [word.text for word in found.transcript.words] == ["New", "York", "calls"]
    assert found.sources == (0, 0, 2)
    new, york, calls = found.transcript.words
    assert (new.start, york.end, calls.start) == (0, 0.8, 2)
    assert 0 < new.end == york.start < 0.8
    assert {new.speaker, york.speaker} == {"A"}


@pytest.mark.parametrize(
    ("text", "replacements", "expected"),
    [
        ("Jon, jon (Jon).", {"Jon": "John"}, "John, jon (John)."),
        ("Hello hello!", {"hello": "hi"}, "Hi hi!"),
        ("a clip flow, b", {"clip flow": "clipflow"}, "a clipflow, b"),
        ("Jon Smith Jon", {"Jon": "John", "Jon Smith": "Ada"}, "Ada John"),
        ("one two", {"one": "1 2 3"}, "1 2 3 two"),
        ("a <b> c", {"<b>": "{\\b1}"}, "a <{\\b1}> c"),
    ],
)
def test_a_phrase_is_replaced_everywhere(
    text: str, replacements: dict[str, str], expected: str
) -> None:
    assert corrected_texts(text, replacements=replacements) == expected.split()


def test_a_correction_of_one_word_takes_precedence_over_replacements() -> None:
    words = {"1": {"original": "Jon", "text": "Jon"}}
    assert corrected_texts("Jon Jon", words=words, replacements={"Jon": "John"}) == ["John", "Jon"]
