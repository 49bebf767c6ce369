"""Labels of speakers and descriptions of sounds in subtitles: they are not words."""

import json

import pytest

from clipflow.domain.edits import Edits, corrected
from clipflow.domain.errors import InvalidInputError
from tests.clipflow.subtitles.reading import read, srt, text_of


def test_labels_become_speakers_and_are_not_words() -> None:
    transcript = read(
        srt(
            ("00:00:01,000", "00:00:03,000", "[SPEAKER_00]: Who taught you to dive?"),
            ("00:00:03,200", "00:00:06,000", "[SPEAKER_01]: My aunt did, in a quarry."),
            ("00:00:06,200", "00:00:08,000", "Speaker 1: A quarry?"),
            ("00:00:08,200", "00:00:10,000", "(speaker 1) It was deep.\nAnd cold."),
            ("00:00:10,200", "00:00:12,000", "&gt;&gt; INGRID: It still is. >> Really?"),
            ("00:00:12,200", "00:00:14,000", "- BOB: Twice: at 10:30 and http://a.example"),
        )
    )
    assert text_of(transcript) == (
        "Who taught you to dive? My aunt did, in a quarry. A quarry? It was deep. And cold. "
        "It still is. Really? Twice: at 10:30 and http://a.example"
    )
    speakers = {word.text: word.speaker for word in transcript.words}
    assert [speakers[text] for text in ("dive?", "aunt", "A", "deep.", "cold.")] == [
        "SPEAKER_00",
        "SPEAKER_01",
        "Speaker 1",
        "Speaker 1",
        "Speaker 1",
    ]
    assert (speakers["still"], speakers["Really?"], speakers["10:30"]) == ("INGRID", None, "BOB")


def test_names_at_the_start_of_many_cues_are_labels() -> None:
    meeting = "WEBVTT\n\n" + srt(
        ("00:00:01.000", "00:00:03.000", "Ingrid Moen: Can everybody hear me?"),
        ("00:00:04.000", "00:00:06.000", "Tomasz: Yes."),
        ("00:00:07.000", "00:00:09.000", "Ingrid Moen: Note: the lake is closed."),
    )
    transcript = read(meeting)
    assert text_of(transcript) == "Can everybody hear me? Yes. Note: the lake is closed."
    assert [word.speaker for word in transcript.words][3:6] == ["Ingrid Moen"] + [
        "Tomasz",
        "Ingrid Moen",
    ]
    talk = srt(
        ("00:00:01,000", "00:00:03,000", "Remember: the lake is closed."),
        ("00:00:04,000", "00:00:06,000", "It froze in a night."),
        ("00:00:07,000", "00:00:09,000", "Nobody had a boat out."),
    )
    assert text_of(read(talk)).startswith("Remember: the lake")


def test_webvtt_voice_tags_become_speakers() -> None:
    teams = (
        "WEBVTT\n\n3f2c/12-0\n00:00:01.000 --> 00:00:03.000\n<v Ingrid Moen>Can you\nhear me?</v>\n"
        "\n3f2c/13-0\n00:00:03.000 --> 00:00:05.000\n<v.loud Tom &amp; Ann>Yes.</v> <v Bo>No.</v>\n"
    )
    words = [(word.text, word.speaker) for word in read(teams).words]
    assert words == [
        *((text, "Ingrid Moen") for text in ("Can", "you", "hear", "me?")),
        ("Yes.", "Tom & Ann"),
        ("No.", "Bo"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[Music]", ""),
        ("[♪♪♪]", ""),
        ("♪ ♪", ""),
        ("♪ We all keep bees ♪", "We all keep bees"),
        ("¶¶ We all keep bees ¶¶", "We all keep bees"),
        ("🎵 We all keep bees,\nbees, bees 🎵", "We all keep bees, bees, bees"),
        ("(applause)", ""),
        ("(door closes softly)", ""),
        ("(SPEAKING IN A\nFOREIGN LANGUAGE)", ""),
        ("[bright orchestral\nmusic playing]", ""),
        ("- [laughs]\n- (sits down)\n- Stop it.", "- Stop it."),
        ("[inaudible] behind the school", "behind the school"),
        ("It was [ __ ] cold.", "It was cold."),
        ("So there. (Laughter)", "So there."),
        ("So there. *laughs*", "So there."),
        ("(DOOR SLAMS) Who is it?", "Who is it?"),
        (">> [Applause] >> Thank you.", "Thank you."),
        ("[Musik]", ""),
        ("(Смех) Да.", "Да."),
        ("（笑）そうです。", "そうです。"),
        ("【拍手】", ""),
        # Spoken words that are in brackets or between asterisks.
        ("the bees (which nobody minded)", "the bees (which nobody minded)"),
        ("the lake\n(frozen in 1990)\nwas deep", "the lake (frozen in 1990) was deep"),
        ("the United Nations (UN)", "the United Nations (UN)"),
        ("(laughter is good for you)\nhe said", "(laughter is good for you) he said"),
        ("5 * 3 * 2", "5 * 3 * 2"),
        ("WELL I NEVER (AND NOBODY DID)", "WELL I NEVER (AND NOBODY DID)"),
        ("an open [bracket", "an open [bracket"),
    ],
)
def test_descriptions_of_sounds_are_not_words(text: str, expected: str) -> None:
    cues = srt(
        ("00:00:01,000", "00:00:03,000", "Before."),
        ("00:00:04,000", "00:00:06,000", text),
        ("00:00:07,000", "00:00:09,000", "After."),
    )
    assert text_of(read(cues)).replace(" ", "") == f"Before.{expected}After.".replace(" ", "")
    segments = [
        {"start": 1, "end": 3, "text": " Before."},
        {"start": 4, "end": 6, "text": f" {text}"},
        {"start": 7, "end": 9, "text": " After."},
    ]
    as_json = read(json.dumps({"segments": segments}), "original.json")
    assert text_of(as_json).replace(" ", "") == f"Before.{expected}After.".replace(" ", "")


def test_descriptions_of_sounds_keep_the_words_around_them_and_their_times() -> None:
    rolling = (
        "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\n"
        "[Music]\nshe<00:00:01.500><c> [bright</c><00:00:02.000><c> music]</c>"
        "<00:00:02.500><c> kept</c>\n"
    )
    transcript = read(rolling, "original.vtt")
    assert [(word.text, word.start) for word in transcript.words] == [("she", 1.0), ("kept", 2.5)]
    label = read(srt(("00:00:01,000", "00:00:03,000", "[sighs] MARTA: (sighs) No.")))
    assert [(word.text, word.speaker) for word in label.words] == [("No.", "MARTA")]


def test_a_file_with_only_descriptions_of_sounds_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no words that are spoken"):
        read(srt(("00:00:01,000", "00:00:03,000", "[Music]")))


def test_a_word_without_characters_that_reorder_others_can_be_corrected() -> None:
    long = "x" * 300
    row = f"\u202b\u05e9\u05dc\u05d5\u05dd, \u2067Ada\u2069. {long}\u202c"
    as_srt = read(srt(("00:00:01,000", "00:00:03,000", row)))
    words = [{"word": text, "start": n, "end": n + 1} for n, text in enumerate(row.split())]
    words += [{"word": "\0\x1b", "start": 3, "end": 4, "speaker": "\u202eA\0"}]
    words += [{"word": "e\0nd", "start": 4, "end": 5, "speaker": "\u202eA\0"}]
    as_json = read(json.dumps(words), "original.json")
    assert [word.text for word in as_srt.words] == ["\u05e9\u05dc\u05d5\u05dd,", "Ada.", long]
    assert [word.text for word in as_json.words[3:]] == ["end"]
    assert as_json.words[-1].speaker == "A"
    for transcript in (as_srt, as_json):
        for number, word in enumerate(transcript.words):
            correction = {"original": word.text, "text": "Corrected"}
            edits = Edits.read({"words": {str(number): correction}}, "edits.json")
            assert corrected(transcript, edits).transcript.words[number].text == "Corrected"
