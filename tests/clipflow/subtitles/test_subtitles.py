"""Subtitles read into words, and words written as subtitles."""

from itertools import pairwise

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.transcript import Transcript, Word, read_words, words_json
from clipflow.subtitles.cue_files import COLUMNS, ROWS, cues, srt_text, width
from clipflow.subtitles.reading import read_subtitles

ARABIC = """\ufeff1\r
00:00:01,000 --> 00:00:03,000\r
<i>مرحبا بكم</i> في <font color="#ff0000">البرنامج</font>\r
\r
2\r
00:00:03,000 --> 00:00:04,000\r
{\\an8}شكرا\r
"""


def texts(transcript: Transcript) -> list[str]:
    return [word.text for word in transcript.words]


def test_tags_and_line_ends_are_not_words() -> None:
    transcript = read_subtitles(ARABIC.encode(), "original.srt", "ar")
    assert texts(transcript) == ["مرحبا", "بكم", "في", "البرنامج", "شكرا"]
    assert (transcript.words[0].start, transcript.words[3].end) == (1.0, 3.0)
    assert transcript.language == "ar"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Q&amp;A it&#39;s &lt;b&gt;", "Q&A it's <b>"),
        ("AT&T; x?a=1&copy=2", "AT&T; x?a=1&copy=2"),
        ("if a < b and c > d then", "if a < b and c > d then"),
        ("use {name} here, List<String>", "use {name} here, List<String>"),
        (r"C:\Notes\hello", r"C:\Notes\hello"),
        (r"{\an7}{\i1}\h\hone\Ntwo{\i0}", "one two"),
        ("< b >one</B><br/><c.yellow.big>two</c> <v Ann>three</v>", "one two three"),
        ("one <00:00:01.500><c>two</c>", "one two"),
        ("<em>one</em> <strong>two</STRONG><p>three</p>", "one two three"),
        ('<div class="x">one</div><h1 id=y>two</h1><hr/>three', "one two three"),
        ("<marker>one</marker> <mytag role='x'>two", "one two"),
        ("one <3 </3 a<b and b>c <- two", "one <3 </3 a<b and b>c <- two"),
    ],
)
def test_only_tags_are_removed_from_the_text(written: str, read: str) -> None:
    content = f"1\n00:00:01,000 --> 00:00:03,000\n{written}\n"
    assert " ".join(texts(read_subtitles(content.encode(), "original.srt"))) == read


def test_webvtt_without_hours_is_read() -> None:
    content = (
        "WEBVTT - talk\n\nSTYLE\n::cue { color: red }\n\nintro\n00:01.000 --> 00:02.500 line:0\n"
        "hello\n2024\n\nNOTE not said\n\n2\n59:59.000 --> 01:00:01.000\n<v Ann>again\n"
    )
    words = read_subtitles(content.encode(), "original.vtt").words
    assert [(word.text, word.start, word.end) for word in words] == [
        ("hello", 1.0, pytest.approx(1.83, abs=0.1)),
        ("2024", pytest.approx(1.83, abs=0.1), 2.5),
        ("again", 3599.0, 3601.0),
    ]


def test_chinese_is_split_into_characters_with_their_punctuation() -> None:
    content = "1\n00:00:00,000 --> 00:00:02,000\n你好，「世界」！\n我用iPhone\n"
    transcript = read_subtitles(content.encode("utf-16"), "original.srt")
    assert texts(transcript) == ["你", "好，", "「世", "界」！", "我", "用", "iPhone"]
    assert transcript.words[0].start == 0
    assert transcript.words[-1].end == 2


def test_unordered_and_overlapping_cues_become_one_timeline() -> None:
    content = (
        "00:00:05.000 --> 00:00:04.000\nlast in\n2024\n\n"
        "2\n00:00:02,000 --> 00:00:09,000\nsecond one\n\n"
        "1\n00:00:01,000 --> 00:00:03,000\nfirst\n\n"
        "3\n00:00:02,000 --> 00:00:03,000\n- both\n\n"
        "4\n00:00:06,000 --> 00:00:07,000\nin\n2024\n"
    )
    words = read_subtitles(content.encode(), "original.srt").words
    text = " ".join(word.text for word in words)
    assert text == "first second one - both last in 2024 in 2024"
    assert all(before.end <= after.start for before, after in pairwise(words))
    assert words[0].end == 2.0


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", "été".encode("latin-1"), b"1\n00:00:01,000 --> 00:00:02,000\n\n"],
)
def test_unreadable_subtitles_are_rejected(content: bytes) -> None:
    with pytest.raises(InvalidInputError, match=r"original\.srt") as caught:
        read_subtitles(content, "original.srt")
    assert caught.value.remedy


def words_of(text: str, seconds_each: float = 0.4, start: float = 0.0) -> list[Word]:
    return [
        Word(text=word, start=start + place * seconds_each, end=start + (place + 1) * seconds_each)
        for place, word in enumerate(text.split())
    ]


def test_a_cue_ends_with_a_sentence_and_at_a_pause() -> None:
    words = [*words_of("One clip, one idea. Then"), *words_of("something else", start=9.0)]
    shown = cues(Transcript(tuple(words)))
    assert [cue.text for cue in shown] == ["One clip, one idea.", "Then", "something else"]
    # It is shown alone until it can be read, because the next cue begins much later.
    assert shown[1].end - shown[1].start == pytest.approx(0.7)


def test_rows_have_similar_lengths_and_break_after_a_comma() -> None:
    text = (
        "When the title comes easily, the idea is clear, and when it does not come at all, "
        "you keep looking for another one"
    )
    first, second = cues(Transcript(tuple(words_of(text, 0.1))))
    assert first.text.endswith(",")
    assert first.text.replace("\n", " ") + " " + second.text.replace("\n", " ") == text
    upper, lower = map(len, second.text.split("\n")) if "\n" in second.text else (0, 0)
    assert abs(upper - lower) < 12


WORDS = st.lists(
    st.tuples(
        st.one_of(
            st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "M")), min_size=1),
            st.sampled_from(
                ["Hello", "world.", "42", "{laughs}", "C:\\new", "a" * 120, "世界，", "ไทย"]
            ),
        ),
        st.floats(0, 3),
        st.floats(0, 2),
        st.sampled_from([None, "A", "B"]),
    ),
    max_size=40,
)


@given(WORDS)
def test_cues_contain_every_word_and_respect_their_limits(
    spoken: list[tuple[str, float, float, str]],
) -> None:
    words, time = [], 0.0
    for text, pause, length, speaker in spoken:
        time += pause
        words.append(Word(text=text, start=time, end=time + length, speaker=speaker))
        time += length
    transcript = Transcript(tuple(words))
    shown = cues(transcript)
    assert bare("".join(cue.text for cue in shown)) == bare("".join(word.text for word in words))
    for cue in shown:
        assert cue.start < cue.end
        rows = cue.text.split("\n")
        assert len(rows) <= ROWS and max(map(width, rows)) <= COLUMNS
    for before, after in pairwise(shown):
        assert before.end <= after.start
        assert before.end - before.start >= 0.699 or before.end == after.start
    written = pysubs2.SSAFile.from_string(srt_text(transcript), "srt", keep_html_tags=True)
    assert len(written) == len(shown)


def bare(text: str) -> str:
    return "".join(text.split())


def test_written_subtitles_round_trip() -> None:
    words = tuple(words_of("Rule three is about {real} scissors, 世界 شكرا."))
    again = read_subtitles(srt_text(Transcript(words)).encode(), "transcript.srt")
    assert bare("".join(texts(again))) == "Rulethreeisabout{real}scissors,世界شكرا."


def test_words_are_written_and_read_again() -> None:
    words = (
        Word(text="你好", start=0, end=0.5, score=0.9, speaker="A"),
        Word(text="hi", start=1, end=2),
    )
    text = words_json(words)
    assert '{"word": "你好", "start": 0.0, "end": 0.5, "score": 0.9, "speaker": "A"}' in text
    assert read_words(text, "words.json") == words
    assert read_words(words_json([]), "words.json") == ()
    with pytest.raises(InvalidInputError, match=r"words.json: word 2 is not valid: end"):
        read_words('[{"word": "a", "start": 0, "end": 1}, {"word": "b", "start": 0}]', "words.json")
