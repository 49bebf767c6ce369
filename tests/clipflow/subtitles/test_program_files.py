"""Subtitles as other programs write them: each word once, at its time, with its speaker."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.transcript import LONGEST, Transcript, words_json
from clipflow.subtitles.cues import srt_text, vtt_text
from clipflow.subtitles.reading import read_subtitles


def read(text: str, name: str = "original.srt", language: str | None = None) -> Transcript:
    return read_subtitles(text.encode(), name, language)


def said(transcript: Transcript) -> str:
    return " ".join(word.text for word in transcript.words)


def start_of(transcript: Transcript, text: str) -> float:
    return next(word.start for word in transcript.words if word.text == text)


def srt(*cues: tuple[str, str, str]) -> str:
    return "\n".join(
        f"{number}\n{start} --> {end}\n{text}\n"
        for number, (start, end, text) in enumerate(cues, 1)
    )


ROLLING_SRT = srt(
    ("00:00:02,000", "00:00:04,100", "she kept the bees behind the school"),
    ("00:00:04,100", "00:00:04,110", "she kept the bees behind the school"),
    ("00:00:04,110", "00:00:07,000", "she kept the bees behind the school\nno\nand nobody minded"),
    ("00:00:07,000", "00:00:07,010", "and nobody minded"),
    ("00:00:07,010", "00:00:09,000", "and nobody minded\nuntil the picnic"),
)
ROLLING_VTT = """\
WEBVTT
Kind: captions
Language: en

00:00:02.000 --> 00:00:04.000 align:start position:0%
\x20
she<00:00:02.400><c> kept</c><00:00:02.900><c> bees</c>

00:00:04.000 --> 00:00:04.010 align:start position:0%
she kept bees
\x20

00:00:04.010 --> 00:00:06.000 align:start position:0%
she kept bees
behind<00:00:04.700><c> the</c><00:00:05.100><c> school</c>

00:00:06.000 --> 00:00:06.010 align:start position:0%
behind the school
\x20
"""


def test_rolling_subrip_is_said_once() -> None:
    transcript = read(ROLLING_SRT)
    expected = "she kept the bees behind the school no and nobody minded until the picnic"
    assert said(transcript) == expected
    assert start_of(transcript, "no") == 4.11
    assert start_of(transcript, "until") == 7.01


def test_rolling_webvtt_is_said_once_at_the_times_of_its_words() -> None:
    transcript = read(ROLLING_VTT, "original.vtt")
    assert [(word.text, word.start) for word in transcript.words] == [
        ("she", 2.0),
        ("kept", 2.4),
        ("bees", 2.9),
        ("behind", 4.01),
        ("the", 4.7),
        ("school", 5.1),
    ]


def test_captions_that_grow_word_by_word_are_said_once() -> None:
    text = ["we", "walked", "out", "on", "the", "ice", "at", "dawn"]
    cues = [
        (f"00:00:0{n}.000", f"00:00:0{n + 1}.000", " ".join(text[: n + 1]))
        for n in range(len(text))
    ]
    transcript = read("WEBVTT\n\n" + srt(*cues))
    assert said(transcript) == " ".join(text)
    assert start_of(transcript, "ice") == 5.0


def test_repeated_words_are_kept() -> None:
    cues = [
        ("00:00:01,000", "00:00:02,000", "No."),
        ("00:00:02,000", "00:00:03,000", "No."),
        ("00:00:03,000", "00:00:04,000", "You know what I mean"),
        ("00:00:04,000", "00:00:05,000", "what I mean is that it never rained again."),
        ("00:00:05,000", "00:00:06,000", "Go on."),
    ]
    assert said(read(srt(*cues))) == " ".join(text for _, _, text in cues)


@pytest.mark.parametrize(
    ("start", "seconds"),
    [
        ("00:00:04", 4.0),
        ("0:00:04.5", 4.5),
        ("00:04,250", 4.25),
        ("00:04", 4.0),
        ("00:00:04.000000", 4.0),
    ],
)
def test_times_may_lack_their_hours_or_their_milliseconds(start: str, seconds: float) -> None:
    assert start_of(read(f"1\n{start} --> 00:00:09\nhello there\n"), "hello") == seconds


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1\n-00:00:02,500 --> 00:00:01,000\nearly\n", 2),
        ("1\n00:00:01,000 --> 00:00:02,000\nhi\n\n2\n-1:-7:-4,-8 --> -1:-7:-3,-2\nlost\n", 6),
        ("1\n00:00:01,000 --> 00:00:02,000\nhi\n00:00:02,000 -> 00:00:03,000\nlost\n", 4),
        ("1\n00:00:01,000 --> 00:00:02,000\nhi\nNaN:NaN:NaN,NaN --> NaN:NaN:NaN,NaN\nlost\n", 4),
        ("1\n00:00:01,000 --> 00:00:02,000\nhi\n\nfrom another paragraph\n", 5),
        ("1\n00:00:01,000 --> 00:00:02,000\nhi\n\n2\n", 5),
        ("1\n00:00:01,000 --> 00:00:61,000\nhi\n", 2),
        ("1\n00:00:01:12 --> 00:00:02:05\nframes\n", 2),
        ("1\n00:00:01,000 --> 00:00:02,000 and words behind the times\n", 2),
        ("0:00:01.000,0:00:02.000\nwritten by another program\n", 1),
        ("{1}{25}counted in frames\n", 1),
        ("[00:01.00]sung\n", 1),
        ("Some title\n\n1\n00:00:01,000 --> 00:00:02,000\nhi\n", 1),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nhi\n\nfrom another paragraph\n", 6),
        ("1\n00:00:01,000 --> 00:00:02,000\n" + "x" * 30_000, 3),
        ("1\n00:00:01,000 --> 00:00:02,000\n<i>00:00:03,000 --&gt; 00:00:04,000</i>\n", 2),
        ("<html>\n<body>not found</body>\n", 1),
    ],
)
def test_an_invalid_cue_is_rejected_with_its_line(text: str, line: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"original\.srt, line {line}\b") as caught:
        read(text)
    assert caught.value.remedy


@pytest.mark.parametrize("hours", ["48", "100", "00100"])
def test_a_time_later_than_two_days_is_refused(hours: str) -> None:
    text = f"1\n{hours}:00:05,000 --> {hours}:00:07,000\nlater\n"
    with pytest.raises(InvalidInputError, match=r"line 2, has a time later than 48 hours"):
        read(text)


def test_joined_files_have_byte_order_marks_in_the_middle() -> None:
    text = (
        "\ufeff1\r\n00:00:01,000 --> 00:00:02,000\r\none ends\r\n\r\n"
        "\ufeff2\r\n00:00:03,000 --> 00:00:04,000\r\ntwo begins\r\n"
    )
    assert said(read(text)) == "one ends two begins"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_unicode_encoding_is_read(encoding: str) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nétait là\n"
    assert said(read_subtitles(text.encode(encoding), "original.srt")) == "était là"


def test_a_number_at_the_end_of_a_cue_is_said() -> None:
    text = (
        "00:00:01,000 --> 00:00:02,000\nit was in\n2024\n\n"
        "00:00:03,000 --> 00:00:04,000\nroom\n101\n"
        "00:00:05,000 --> 00:00:06,000\nthe end\n7\n"
    )
    assert said(read(text)) == "it was in 2024 room 101 the end 7"


def test_cues_without_an_empty_line_between_them_have_their_numbers() -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\nit was\n2\n00:00:03,000 --> 00:00:04,000\nin 1999\n"
        "3\n00:00:05,000 --> 00:00:06,000\nor so\n"
    )
    assert said(read(text)) == "it was in 1999 or so"


def test_double_line_ends_and_blank_rows_do_not_split_cues() -> None:
    doubled = srt(("00:00:01,000", "00:00:02,000", "one\ntwo")).replace("\n", "\r\r\n")
    assert said(read(doubled)) == "one two"
    blank = "1\n00:00:01,000 --> 00:00:02,000\n\nthree\n \nfour\n\n2\n00:03 --> 00:04\n\nfive\n"
    assert said(read(blank)) == "three four five"


def test_labels_become_speakers_and_are_never_said() -> None:
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
    assert said(transcript) == (
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


def test_names_are_labels_where_they_stand_in_front_of_many_cues() -> None:
    meeting = "WEBVTT\n\n" + srt(
        ("00:00:01.000", "00:00:03.000", "Ingrid Moen: Can everybody hear me?"),
        ("00:00:04.000", "00:00:06.000", "Tomasz: Yes."),
        ("00:00:07.000", "00:00:09.000", "Ingrid Moen: Note: the lake is closed."),
    )
    transcript = read(meeting)
    assert said(transcript) == "Can everybody hear me? Yes. Note: the lake is closed."
    assert [word.speaker for word in transcript.words][3:6] == ["Ingrid Moen"] + [
        "Tomasz",
        "Ingrid Moen",
    ]
    talk = srt(
        ("00:00:01,000", "00:00:03,000", "Remember: the lake is closed."),
        ("00:00:04,000", "00:00:06,000", "It froze in a night."),
        ("00:00:07,000", "00:00:09,000", "Nobody had a boat out."),
    )
    assert said(read(talk)).startswith("Remember: the lake")


def test_voices_are_speakers() -> None:
    teams = (
        "WEBVTT\n\n3f2c/12-0\n00:00:01.000 --> 00:00:03.000\n<v Ingrid Moen>Can you\nhear me?</v>\n"
        "\n3f2c/13-0\n00:00:03.000 --> 00:00:05.000\n<v.loud Tom &amp; Ann>Yes.</v> <v Bo>No.</v>\n"
    )
    spoken = [(word.text, word.speaker) for word in read(teams).words]
    assert spoken == [
        *((text, "Ingrid Moen") for text in ("Can", "you", "hear", "me?")),
        ("Yes.", "Tom & Ann"),
        ("No.", "Bo"),
    ]


BILINGUAL = srt(
    ("00:00:01,000", "00:00:03,000", "The bees came back.\nПчёлы вернулись."),
    ("00:00:04,000", "00:00:06,000", "All of them.\nВсе до одной."),
    ("00:00:07,000", "00:00:09,000", "2024."),
)


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (None, "The bees came back. All of them. 2024."),
        ("en-GB", "The bees came back. All of them. 2024."),
        ("ru", "Пчёлы вернулись. Все до одной. 2024."),
        ("el", "The bees came back. All of them. 2024."),
    ],
)
def test_of_two_languages_in_two_scripts_one_is_read(language: str | None, expected: str) -> None:
    assert said(read(BILINGUAL, language=language)) == expected


def test_a_name_in_another_script_is_no_other_language() -> None:
    text = srt(
        ("00:00:01,000", "00:00:03,000", "iPhone 15\nを買いました"),
        ("00:00:04,000", "00:00:06,000", "とても\nいいです"),
        ("00:00:07,000", "00:00:09,000", "毎日\n使っています"),
    )
    assert said(read(text)).startswith("iPhone 15 を")


@pytest.mark.parametrize(
    ("shown", "expected"),
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
        # What is said in brackets and asterisks.
        ("the bees (which nobody minded)", "the bees (which nobody minded)"),
        ("the lake\n(frozen in 1990)\nwas deep", "the lake (frozen in 1990) was deep"),
        ("the United Nations (UN)", "the United Nations (UN)"),
        ("(laughter is good for you)\nhe said", "(laughter is good for you) he said"),
        ("5 * 3 * 2", "5 * 3 * 2"),
        ("WELL I NEVER (AND NOBODY DID)", "WELL I NEVER (AND NOBODY DID)"),
        ("an open [bracket", "an open [bracket"),
    ],
)
def test_descriptions_of_sounds_are_not_said(shown: str, expected: str) -> None:
    cues = srt(
        ("00:00:01,000", "00:00:03,000", "Before."),
        ("00:00:04,000", "00:00:06,000", shown),
        ("00:00:07,000", "00:00:09,000", "After."),
    )
    assert said(read(cues)).replace(" ", "") == f"Before.{expected}After.".replace(" ", "")
    segments = [
        {"start": 1, "end": 3, "text": " Before."},
        {"start": 4, "end": 6, "text": f" {shown}"},
        {"start": 7, "end": 9, "text": " After."},
    ]
    as_json = read(json.dumps({"segments": segments}), "original.json")
    assert said(as_json).replace(" ", "") == f"Before.{expected}After.".replace(" ", "")


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


@pytest.mark.parametrize("kind", ["whisper", "clipflow", "deepgram"])
def test_descriptions_of_sounds_in_json_are_not_words(kind: str) -> None:
    texts = ["♪", "[bright", "music]", "Bees", "(laughs)", "dance.", ">>", "[Applause]", "♪Yes♪"]
    words = [
        {"word": f" {text}" if kind == "whisper" else text, "start": float(at), "end": at + 0.5}
        for at, text in enumerate(texts)
    ]
    value: object = words
    if kind == "whisper":
        value = {"segments": [{"start": 0, "end": 9, "text": "", "words": words}]}
    if kind == "deepgram":
        value = {"results": {"channels": [{"alternatives": [{"words": words}]}]}}
    transcript = read(json.dumps(value), "original.json")
    spoken = [(word.text, word.start) for word in transcript.words]
    assert spoken == [("Bees", 3.0), ("dance.", 5.0), ("Yes", 8.0)]


def test_a_file_of_sounds_alone_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no words that are spoken"):
        read(srt(("00:00:01,000", "00:00:03,000", "[Music]")))


WORDS = [
    {"word": " Bees", "start": 1.0, "end": 1.4, "probability": 0.91},
    {"word": " dance", "start": 1.4, "end": 1.9, "probability": 0.4},
    {"word": "-like", "start": 1.9, "end": 2.1, "probability": 0.8},
]


def test_the_json_of_whisper_keeps_its_words() -> None:
    segment = {"id": 0, "start": 1.0, "end": 2.2, "text": " Bees dance-like", "words": WORDS}
    transcript = read(json.dumps({"text": "", "segments": [segment], "language": "en"}))
    spoken = [(word.text, word.start, word.end, word.score) for word in transcript.words]
    assert spoken == [("Bees", 1.0, 1.4, 0.91), ("dance-like", 1.4, 2.1, 0.4)]
    assert transcript.language == "en"
    assert read(json.dumps({"segments": [segment]}), language="de").language == "de"


def test_segments_without_words_share_their_time() -> None:
    segments = [
        {"start": 1.0, "end": 2.0, "text": " Bees dance.", "speaker": "A"},
        {"start": 2.5, "end": 3.0, "text": " Yes.", "speaker": "B"},
    ]
    transcript = read(json.dumps({"segments": segments}), "original.json")
    spoken = [(word.text, word.start, word.speaker) for word in transcript.words]
    assert spoken == [("Bees", 1.0, "A"), ("dance.", 1.4, "A"), ("Yes.", 2.5, "B")]


def test_the_json_of_whisperx_gives_words_without_times_what_is_left() -> None:
    words = [
        {"word": "In", "start": 1.0, "end": 1.2, "score": 0.9, "speaker": "SPEAKER_00"},
        {"word": "1999", "speaker": "SPEAKER_00"},
        {"word": "bees", "start": 2.0, "end": 2.4, "score": 0.7},
    ]
    segment = {"start": 1, "end": 2.4, "text": "In 1999 bees", "words": words, "speaker": "S1"}
    transcript = read(json.dumps({"segments": [segment], "word_segments": words}))
    spoken = [(word.text, word.start, word.end, word.speaker) for word in transcript.words]
    assert spoken == [
        ("In", 1.0, 1.2, "SPEAKER_00"),
        ("1999", 1.2, 2.0, "SPEAKER_00"),
        ("bees", 2.0, 2.4, "S1"),
    ]


def test_the_json_of_whisper_cpp_is_read() -> None:
    segments = [
        {"offsets": {"from": 1000, "to": 2000}, "text": " (speaker 0) Bees"},
        {"offsets": {"from": 2000, "to": 3000}, "text": " [BLANK_AUDIO]"},
    ]
    transcript = read(json.dumps({"result": {"language": "en"}, "transcription": segments}))
    assert [(word.text, word.speaker) for word in transcript.words] == [("Bees", "speaker 0")]


def test_the_json_of_deepgram_has_punctuation_speakers_and_channels() -> None:
    def channel(*words: tuple[str, float, int | None]) -> dict[str, object]:
        rows = [
            {"word": text.lower(), "punctuated_word": text, "start": at, "end": at + 0.5}
            | {"confidence": 0.99}
            | ({"speaker": speaker} if speaker is not None else {})
            for text, at, speaker in words
        ]
        return {"alternatives": [{"transcript": "", "confidence": 1, "words": rows}]}

    one = {"results": {"channels": [channel(("Hello.", 1.0, 0), ("Yes?", 2.0, 1))]}}
    spoken = [(word.text, word.speaker) for word in read(json.dumps(one)).words]
    assert spoken == [("Hello.", "Speaker 0"), ("Yes?", "Speaker 1")]
    two = {"results": {"channels": [channel(("Hello.", 1.0, None)), channel(("So.", 0.5, None))]}}
    spoken = [(word.text, word.speaker) for word in read(json.dumps(two)).words]
    assert spoken == [("So.", "Channel 1"), ("Hello.", "Channel 0")]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"segments": [{"start": -1, "end": 2, "text": "a"}]}, r"segments\.0\.start"),
        ({"segments": [{"start": 0, "end": LONGEST + 1, "text": "a"}]}, r"segments\.0\.end"),
        ({"results": {"channels": [{"alternatives": []}]}}, r"channels\.0\.alternatives"),
        ({"transcription": [{"text": "a"}]}, r"transcription\.0\.offsets"),
        ({"videos": []}, "is not the JSON of"),
        ({"jobName": "a", "results": {"transcripts": [], "items": []}}, "is not the JSON of"),
        ([{"word": "a", "start": 0}], "word 1 is not valid: end"),
    ],
)
def test_invalid_json_is_rejected_with_its_field(value: object, fault: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"original\.json.*{fault}"):
        read(json.dumps(value), "original.json")


@pytest.mark.parametrize("write", [srt_text, vtt_text, lambda t: words_json(t.words)])
def test_written_subtitles_can_be_read(write: object) -> None:
    transcript = read(
        srt(
            ("00:00:01,000", "00:00:03,000", r"ANN: Use {real} scissors & <paper> in C:\New --"),
            ("00:00:03,000", "00:00:05,000", "BOB: 世界 is fine."),
        )
    )
    assert callable(write)
    again = read(write(transcript))
    assert "".join(said(again).split()) == "".join(said(transcript).split())
    for before, after in zip(transcript.words, again.words, strict=False):
        assert after.speaker in (None, before.speaker)


PARTS = [
    "1",
    "2",
    "-->",
    "00:00:01,000 --> 00:00:02,000",
    "00:00:02 --> 00:00:03",
    "-00:00:01,000 --> 00:00:02,000",
    "00:00:03.5 -> 00:00:04",
    "WEBVTT",
    "NOTE hidden",
    "<00:00:01.400>",
    "<v Ann>",
    "</v>",
    ">> ANN: ",
    "[SPEAKER_00]:",
    "hello",
    "世界",
    "\ufeff",
    " ",
    "\n",
    "\r\n",
    "\n\n",
    "{\\an8}",
    "&lt;",
    "&#10;",
    "\u2028",
    "<i>",
    "[",
    "{",
    "(",
    "]",
    ")",
    "*",
    "♪",
    "[Music]",
]


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(PARTS) | st.text(max_size=8), max_size=40).map("".join),
    st.sampled_from(
        ["", "1\n00:00:01,000 --> 00:00:09,000\nso ", "WEBVTT\n\n00:01 --> 00:09\nso "]
    ),
)
def test_a_hostile_file_is_refused_or_says_no_times_and_no_labels(text: str, begin: str) -> None:
    refusal, transcript = "", Transcript(())
    try:
        transcript = read_subtitles((begin + text).encode("utf-8", "surrogatepass"), "original.srt")
    except InvalidInputError as error:
        refusal = error.message
    if refusal:
        assert "original.srt" in refusal
        return
    for before, after in pairwise(transcript.words):
        assert before.start <= before.end <= after.start
    for word in transcript.words:
        assert word.text.strip() and "-->" not in word.text and "\ufeff" not in word.text
        assert "SPEAKER_00" not in word.text and "ANN:" not in word.text
    # What was read can be written and read again; times that are said may fill a row of their own.
    if "00:00" in said(transcript):
        return
    assert read(srt_text(transcript)).words and read(vtt_text(transcript)).words
