"""The options of `clipflow edit`: how each changes the document of edits."""

from fractions import Fraction
from typing import Any

import pytest

from clipflow.domain.edits import Edits
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.shorts import Moment
from clipflow.domain.transcript import Transcript, Word
from deployments.command.changes import Changes
from deployments.command.edit import stale_edits
from deployments.command.shorts import ignored_removals

WORDS = [Word(text=f"w{n}", start=n, end=n + 0.6) for n in range(60)]
MOMENTS = [
    Moment(
        id=f"m{start}000-{end}000",
        index=index,
        start=Fraction(start),
        end=Fraction(end),
        score=1,
        why="",
        title="Chosen",
    )
    for index, start, end in ((1, 10, 20), (2, 30, 40))
]
FIRST, SECOND = (str(moment.id) for moment in MOMENTS)


def edited_document(edits: Edits | None = None, **options: Any) -> dict[str, Any]:
    """The document of edits after these options were applied to it."""
    names = ("trim", "framing", "reset", "replace", "word")
    changes = Changes.parse(
        texts={name: options.get(name) for name in ("title", "hook", "description")},
        names={"layout": options.get("layout"), "caption_style": options.get("captions")},
        decisions={"approved": options.get("approve"), "refused": options.get("refuse")},
        **{name: options.get(name) for name in names},
    )
    return changes.apply(edits or Edits(), MOMENTS, WORDS).document()


def test_a_short_is_identified_by_its_number_or_its_id() -> None:
    found = edited_document(
        title=["2=A = B", f"{FIRST}=C"],
        refuse=["1"],
        approve=["2"],
        layout=["2=split"],
        captions=["2=none"],
    )
    assert found == {
        "version": 1,
        "shorts": {
            SECOND: {
                "title": "A = B",
                "layout": "split",
                "caption_style": "none",
                "decision": "approved",
            },
            FIRST: {"title": "C", "decision": "refused"},
        },
    }
    again = edited_document(Edits.read(found, "it"), title=["2="], reset=["1"])
    assert again["shorts"].keys() == {SECOND}
    assert "title" not in again["shorts"][SECOND]


def test_a_trim_does_not_warn_about_edits_of_other_shorts(caplog: pytest.LogCaptureFixture) -> None:
    edits = Edits.read(edited_document(title=["2=A"]), "it")
    assert edited_document(edits, trim=["1=1.2,-2.4"])["shorts"].keys() == {FIRST, SECOND}
    assert not caplog.text


def test_a_trim_moves_the_current_ends_of_a_short_to_whole_words() -> None:
    found = edited_document(trim=["1=1.2,-2.4"])
    span = found["shorts"][FIRST]["span"]
    assert span == {"first": 11, "last": 17, "first_word": "w11", "last_word": "w17"}
    again = edited_document(Edits.read(found, "it"), trim=["1=0.0,-2.4"])["shorts"][FIRST]["span"]
    assert (again["first"], again["last"]) == (11, 15)


def test_a_framing_shows_a_person_or_a_place_for_a_span_of_time() -> None:
    found = edited_document(framing=["1=0:12-0:14.5:2", "1=15-16:0.5,0.25"])
    assert found["shorts"][FIRST]["framing"] == [
        {"start": 12.0, "end": 14.5, "person": 2},
        {"start": 15.0, "end": 16.0, "place": {"x": 0.5, "y": 0.25}},
    ]


def test_words_are_replaced_everywhere_or_corrected_by_number() -> None:
    found = edited_document(replace=["Jon=John"], word=["7=uh,", "8="])
    assert found["replacements"] == {"Jon": "John"}
    assert found["words"] == {
        "7": {"original": "w7", "text": "uh,"},
        "8": {"original": "w8", "text": ""},
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"title": ["2"]}, "--title: '2' is not N=VALUE"),
        ({"captions": ["none"]}, "--captions"),
        ({"title": ["3=x"]}, "There is no short 3: there are 1 (m10000-20000), 2"),
        ({"title": ["1=a\u202eb"]}, "shorts.m10000-20000.title"),
        ({"layout": ["1=../x"]}, "shorts.m10000-20000.layout"),
        ({"trim": ["1=5"]}, "--trim: '5' is not START,END"),
        ({"trim": ["1=nan,0"]}, "--trim"),
        ({"trim": ["1=0,-100"]}, "Nothing is said"),
        ({"framing": ["1=5-4:1"]}, "--framing"),
        ({"framing": ["1=5-6:0.5,1.5"]}, "--framing: '5-6:0.5,1.5': y: Input should be less"),
        ({"framing": ["1=5-6:nan,0"]}, "--framing"),
        ({"word": ["60=x"]}, "there is no word 60"),
        ({"word": ["-1=x"]}, "--word"),
        ({"replace": ["Jon"]}, "--replace"),
        ({"replace": ["Jon="]}, "replacements"),
    ],
)
def test_a_change_that_is_not_valid_is_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        edited_document(**options)
    assert expected in str(error.value)


def test_restored_words_that_no_longer_apply_or_were_never_removed_are_reported() -> None:
    restored = {"w3": "w3", "p5": "another", "w900": "w900"}
    edits = Edits.read({"shorts": {FIRST: {"restored": restored}}}, "the edits")
    found = stale_edits(edits, Transcript(tuple(WORDS)))
    assert found == [f"shorts.{FIRST}.restored.{id}" for id in ("p5", "w900")]
    shorts: list[dict[str, Any]] = [{"index": 1}, {"index": 2, "tightening": {"ignored": ["w3"]}}]
    assert ignored_removals(shorts) == [(2, "w3")]
