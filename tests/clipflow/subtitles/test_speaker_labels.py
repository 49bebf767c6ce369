"""Which text in front of a colon is a speaker's label follows from the file as a whole."""

import pytest

from clipflow.domain.transcript import Transcript
from tests.clipflow.subtitles.reading import read, srt, text_of


def cues(*texts: str) -> Transcript:
    """The words of a file with one cue of two seconds for each text."""
    times = [f"00:{2 * n // 60:02}:{2 * n % 60:02},000" for n in range(len(texts) + 1)]
    return read(srt(*zip(times, times[1:], texts, strict=False)))


def who(transcript: Transcript) -> list[tuple[str, str | None]]:
    return [(word.text, word.speaker) for word in transcript.words]


def talk(count: int, first: int = 1) -> list[str]:
    return [f"and here we talk about boat number {first + n} of many" for n in range(count)]


def within(spoken: list[str]) -> list[str]:
    """The texts far apart in a file that is otherwise without labels."""
    parts = ([*talk(6, 6 * place), text] for place, text in enumerate(spoken))
    return [text for part in parts for text in part] + talk(6)


@pytest.mark.parametrize(
    "texts",
    [
        within(["MIT: that is where I learned it.", "NASA: they said no."]),
        within(["Step 1: open the box.", "Step 1: open it again."]),
        within(["The Great Gatsby: a novel.", "The Great Gatsby: a film."]),
        within(["Remember: bring a coat."]),
        ["I have three rules.", "First: be kind.", "Second: be brief.", "Third: be done."],
        ["First: be kind.", "Second: be brief.", "Third: be done."],
        ["Step 1: open it.", "Take it out.", "Step 2: close it.", "Good.", "Step 1: again."],
        ["Isaiah 40: 31 says", "they that wait", "Isaiah 40: 32 says", "no such verse"],
        within([">> Remember: it was cold.", ">> Nobody minded."]),
    ],
)
def test_a_spoken_word_in_front_of_a_colon_is_not_a_label(texts: list[str]) -> None:
    transcript = cues(*texts)
    assert text_of(transcript) == " ".join(texts).replace(">> ", "")
    assert {word.speaker for word in transcript.words} == {None}


def test_a_label_in_a_file_without_others_applies_to_its_cue_only() -> None:
    transcript = cues(*within(["Speaker 1: No.\nNever."]))
    assert text_of(transcript).count("Speaker") == 0
    spoken = [text for text, speaker in who(transcript) if speaker == "Speaker 1"]
    assert spoken == ["No.", "Never."]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("marta weiss", "jan"),
        ("Weiss, Marta", "Meyer, Jan"),
        ("iPhone", "Marta Weiss"),
        ("Marta Weiss (she/her)", "Jan | Acme"),
        ("4155550123", "+1 415-***-0123"),
        ("marta@example.com", "jan"),
        ("Prof. Dr. Marta Weiss, University of Amsterdam", "Jan"),
        ("김민준", "이수진"),
        ("Question", "Answer"),
    ],
)
@pytest.mark.parametrize("rounds", [1, 12])
def test_what_every_cue_begins_with_is_a_label_whatever_it_looks_like(
    one: str, other: str, rounds: int
) -> None:
    texts = [f"{one}: Good morning.", f"{other}: Hello: it rains.", f"{one}: Again?"] * rounds
    last = f"{one} (2): Goodbye."
    expected = [("Good", one), ("morning.", one)]
    expected += [("Hello:", other), ("it", other), ("rains.", other), ("Again?", one)]
    assert who(cues(*texts, last)) == [*expected * rounds, ("Goodbye.", f"{one} (2)")]


def test_a_name_at_each_change_of_speaker_is_a_label() -> None:
    # Some programs name the speaker only where another one begins.
    texts = ["Marta Weiss: It is old.", *talk(2), "Jan: Really?", "When was it built?"]
    transcript = cues(*texts * 3)
    assert "Marta" not in text_of(transcript) and "Jan:" not in text_of(transcript)
    assert {word.speaker for word in transcript.words} == {"Marta Weiss", "Jan"}
    continued = next(word for word in transcript.words if word.text == "built?")
    assert continued.speaker == "Jan"


def test_a_name_that_occurs_once_is_a_label_where_most_cues_have_one() -> None:
    transcript = cues("Marta: It is old,", "and big.", "Jan: Really?", "Marta: Yes.")
    assert who(transcript)[3:] == [
        ("and", "Marta"),
        ("big.", "Marta"),
        ("Really?", "Jan"),
        ("Yes.", "Marta"),
    ]


def test_an_unknown_speaker_is_none() -> None:
    transcript = cues("(speaker 0) It is old.", "(speaker ?) Yes.", "[SPEAKER_UNKNOWN]: No.")
    assert who(transcript)[-3:] == [("old.", "speaker 0"), ("Yes.", None), ("No.", None)]
