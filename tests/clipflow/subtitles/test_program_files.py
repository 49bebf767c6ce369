"""SubRip and WebVTT as other programs write them: each word once, at its time."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.transcript import Transcript, words_json
from clipflow.subtitles.cue_files import srt_text, vtt_text
from clipflow.subtitles.reading import read_subtitles
from tests.clipflow.subtitles.reading import read, srt, start_of, text_of

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


def test_words_that_rolling_subrip_repeats_are_read_once() -> None:
    transcript = read(ROLLING_SRT)
    expected = "she kept the bees behind the school no and nobody minded until the picnic"
    assert text_of(transcript) == expected
    assert start_of(transcript, "no") == 4.11
    assert start_of(transcript, "until") == 7.01


def test_words_that_rolling_webvtt_repeats_are_read_once_at_their_times() -> None:
    transcript = read(ROLLING_VTT, "original.vtt")
    assert [(word.text, word.start) for word in transcript.words] == [
        ("she", 2.0),
        ("kept", 2.4),
        ("bees", 2.9),
        ("behind", 4.01),
        ("the", 4.7),
        ("school", 5.1),
    ]


def test_captions_that_grow_word_by_word_are_read_once() -> None:
    text = ["we", "walked", "out", "on", "the", "ice", "at", "dawn"]
    cues = [
        (f"00:00:0{n}.000", f"00:00:0{n + 1}.000", " ".join(text[: n + 1]))
        for n in range(len(text))
    ]
    transcript = read("WEBVTT\n\n" + srt(*cues))
    assert text_of(transcript) == " ".join(text)
    assert start_of(transcript, "ice") == 5.0


def build_up(text: str, words: int) -> list[str]:
    """Captions that show the first word of each line of `words` words, then two, and so on."""
    spoken = text.split()
    return [" ".join(spoken[n - n % words : n + 1]) for n in range(len(spoken))]


@pytest.mark.parametrize("words", [2, 3, 4])
def test_short_captions_that_build_up_word_by_word_are_read_once(words: int) -> None:
    spoken = "salt batteries are very cheap indeed and they never ever catch fire"
    shown = build_up(spoken, words)
    cues = [(f"00:00:{n:02},000", f"00:00:{n + 1:02},000", text) for n, text in enumerate(shown)]
    transcript = read(srt(*cues))
    assert text_of(transcript) == spoken
    assert [word.start for word in transcript.words] == list(range(12))


def test_rolling_captions_with_rows_of_two_words_are_read_once() -> None:
    rows = ["we can", "go to", "the old", "harbour and", "see it"]
    shown = [rows[0], *("\n".join(pair) for pair in pairwise(rows))]
    cues = [(f"00:00:0{n},000", f"00:00:0{n + 1},000", text) for n, text in enumerate(shown)]
    assert text_of(read(srt(*cues))) == " ".join(rows)


@pytest.mark.parametrize("tag", ["u", 'font color="#00ff00"'])
def test_words_that_a_cue_highlights_one_after_the_other_have_their_times(tag: str) -> None:
    """As Whisper and WhisperX write them with `--highlight_words True`."""
    end = f"</{tag.split()[0]}>"
    transcript = read(
        srt(
            ("00:00:00,000", "00:00:01,000", f"[SPEAKER_00]: <{tag}>Hello{end} my\nold friend"),
            ("00:00:01,000", "00:00:01,500", "[SPEAKER_00]: Hello my\nold friend"),
            ("00:00:01,500", "00:00:02,000", f"[SPEAKER_00]: Hello <{tag}>my{end}\nold friend"),
            ("00:00:02,000", "00:00:03,000", f"[SPEAKER_00]: Hello my\n<{tag}>old{end} friend"),
            ("00:00:03,000", "00:00:04,000", f"[SPEAKER_00]: Hello my\nold <{tag}>friend{end}"),
            ("00:00:04,000", "00:00:05,000", f"[SPEAKER_01]: <{tag}>Yes.{end}"),
            ("00:00:05,000", "00:00:06,000", f"[SPEAKER_01]: <{tag}>Yes.{end}"),
        )
    )
    assert [(word.text, word.start, word.end) for word in transcript.words] == [
        ("Hello", 0.0, 1.5),
        ("my", 1.5, 2.0),
        ("old", 2.0, 3.0),
        ("friend", 3.0, 4.0),
        ("Yes.", 4.0, 5.0),
        ("Yes.", 5.0, 6.0),
    ]
    assert [word.speaker for word in transcript.words] == 4 * ["SPEAKER_00"] + 2 * ["SPEAKER_01"]


def test_words_that_whisper_cpp_splits_are_joined() -> None:
    parts = [" The", " har", "bour", ".", " U", ".", "S", ".", " is"]
    cues = [(f"00:00:0{n},000", f"00:00:0{n + 1},000", text) for n, text in enumerate(parts)]
    words = [(word.text, word.start, word.end) for word in read(srt(*cues)).words]
    assert words == [("The", 0, 1), ("harbour.", 1, 4), ("U.S.", 4, 8), ("is", 8, 9)]
    rows = [" The", " harbour is o", "ld and", " very big", " indeed", " it is"]
    cues = [(f"00:00:0{n},000", f"00:00:0{n + 1},000", text) for n, text in enumerate(rows)]
    assert text_of(read(srt(*cues))) == "The harbour is old and very big indeed it is"
    # Without a blank in front of most rows, each row begins with a word.
    plain = [(start, end, text.strip()) for start, end, text in cues]
    assert "o ld" in text_of(read(srt(*plain)))


def test_marks_that_stand_alone_have_no_time_of_their_own() -> None:
    transcript = read(
        srt(
            ("00:00:01,000", "00:00:02,000", "MARTA: Ready.\n- Where is it ?\n– Over there…"),
            ("00:00:03,000", "00:00:04,000", "MARTA: « Bien ! »"),
            ("00:00:05,000", "00:00:06,000", "MARTA: — that is 5 % & more —"),
        )
    )
    found = [(word.text, word.speaker) for word in transcript.words]
    assert found[:6] == [
        ("Ready.", "MARTA"),
        ("- Where", None),
        ("is", None),
        ("it ?", None),
        ("– Over", None),
        ("there…", None),
    ]
    assert [text for text, _ in found[6:]] == [
        "« Bien ! »",
        "— that",
        "is",
        "5",
        "%",
        "&",
        "more —",
    ]


def test_a_sentence_that_is_said_three_times_is_kept() -> None:
    shown = ["Yes we can.", "Yes we can.", "Yes we can.", "And we will."]
    cues = [(f"00:00:0{n},000", f"00:00:0{n + 1},000", text) for n, text in enumerate(shown)]
    assert text_of(read(srt(*cues))) == " ".join(shown)


def test_answers_that_begin_with_the_question_are_kept() -> None:
    shown = ["Why?", "Why? Because.", "So it was.", "And then?", "And then it broke.", "Oh.", "Oh."]
    cues = [(f"00:00:0{n},000", f"00:00:0{n + 1},000", text) for n, text in enumerate(shown)]
    assert text_of(read(srt(*cues))) == " ".join(shown)


def test_repeated_words_are_kept() -> None:
    cues = [
        ("00:00:01,000", "00:00:02,000", "No."),
        ("00:00:02,000", "00:00:03,000", "No."),
        ("00:00:03,000", "00:00:04,000", "You know what I mean"),
        ("00:00:04,000", "00:00:05,000", "what I mean is that it never rained again."),
        ("00:00:05,000", "00:00:06,000", "Go on."),
    ]
    assert text_of(read(srt(*cues))) == " ".join(text for _, _, text in cues)


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
def test_hours_and_milliseconds_of_times_are_optional(start: str, seconds: float) -> None:
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
    assert text_of(read(text)) == "one ends two begins"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_unicode_encoding_is_read(encoding: str) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nétait là\n"
    assert text_of(read_subtitles(text.encode(encoding), "original.srt")) == "était là"


def test_a_number_at_the_end_of_a_cue_is_a_word() -> None:
    text = (
        "00:00:01,000 --> 00:00:02,000\nit was in\n2024\n\n"
        "00:00:03,000 --> 00:00:04,000\nroom\n101\n"
        "00:00:05,000 --> 00:00:06,000\nthe end\n7\n"
    )
    assert text_of(read(text)) == "it was in 2024 room 101 the end 7"


def test_cue_numbers_are_not_words_if_no_empty_line_precedes_them() -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\nit was\n2\n00:00:03,000 --> 00:00:04,000\nin 1999\n"
        "3\n00:00:05,000 --> 00:00:06,000\nor so\n"
    )
    assert text_of(read(text)) == "it was in 1999 or so"


def test_double_line_ends_and_blank_rows_do_not_split_cues() -> None:
    doubled = srt(("00:00:01,000", "00:00:02,000", "one\ntwo")).replace("\n", "\r\r\n")
    assert text_of(read(doubled)) == "one two"
    blank = "1\n00:00:01,000 --> 00:00:02,000\n\nthree\n \nfour\n\n2\n00:03 --> 00:04\n\nfive\n"
    assert text_of(read(blank)) == "three four five"


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
def test_only_one_language_of_bilingual_cues_is_read(language: str | None, expected: str) -> None:
    assert text_of(read(BILINGUAL, language=language)) == expected


def test_a_name_in_another_script_is_not_a_second_language() -> None:
    text = srt(
        ("00:00:01,000", "00:00:03,000", "iPhone 15\nを買いました"),
        ("00:00:04,000", "00:00:06,000", "とても\nいいです"),
        ("00:00:07,000", "00:00:09,000", "毎日\n使っています"),
    )
    assert text_of(read(text)).startswith("iPhone 15 を")


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
    assert "".join(text_of(again).split()) == "".join(text_of(transcript).split())
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
def test_any_file_is_refused_or_its_words_contain_no_times_and_no_labels(
    text: str, begin: str
) -> None:
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
    # What was read can be written and read again. Words that look like times are excepted: one may
    # be written on a row of its own, and is then read as the times of a cue.
    if "00:00" in text_of(transcript):
        return
    assert read(srt_text(transcript)).words and read(vtt_text(transcript)).words
