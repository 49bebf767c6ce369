"""The content of results pages: shorts, a clip and errors, all escaped as text."""

import re
import time
from base64 import b64decode
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest

from clipflow.domain.clips import ClipResult, Segment
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.layouts import Layout
from clipflow.domain.shorts import Framing, LayoutSpan, Short
from clipflow.domain.transcript import Transcript, Word
from clipflow.results.pages import (
    MomentMarks,
    clip_page,
    clock,
    player_captions,
    replace_links,
    shorts_page,
    shown_lines,
    size,
)
from tests.clipflow.results.conftest import FAILURE, moment, words

KEYS = ShortsKeys("u", "talk-1", "warehouse")
CLIP = ClipKeys("t", "episode-1", "clip-1", "{tenantId}/")


def made(number: int, line: int, **more: Any) -> Short:
    return Short.made(number, KEYS.short(number), moment(line, **more), 4_200_000)


def page(*shorts: Short, spoken: list[Word] | None = None, posters: Mapping[str, str] = {}) -> str:
    return shorts_page(KEYS, shorts, Transcript(tuple(spoken or words()), "en"), posters)


def test_a_page_links_videos_by_relative_paths() -> None:
    text = page(made(1, 1))
    assert 'src="videos-cropped-stacked/segment_1_cropped_stacked.mp4"' in text
    assert "warehouse" not in text
    result = ClipResult(
        s3_key=CLIP.clip,
        file_size=900_000,
        duration="00:00:03",
        duration_seconds=3,
        resolution="1920x1080",
        segment_count=1,
    )
    segment = Segment.read({"startTime": "01:00:00", "endTime": "01:00:03.5"}, "a segment")
    text = clip_page(CLIP, [segment], result, {})
    assert 'src="clip.mp4"' in text
    assert "1920 × 1080" in text and "900 kB" in text and ">1:00:03<" in text


def test_the_framing_of_a_short_is_listed_with_its_warning() -> None:
    spans = (
        LayoutSpan(start=0.0, end=3.2, layout=Layout.SPLIT),
        LayoutSpan(start=3.2, end=9.0, layout=Layout.CROP),
    )
    framing = Framing(speaker_in_frame=0.981, confidence=0.49, cuts=1, layouts=spans)
    text = page(made(1, 1).model_copy(update={"framing": framing}))
    shown = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text))
    assert "Framing: the speaker's face is whole in 98 % of the frames" in shown
    assert "split 0:00–0:03" in shown and "crop 0:03–0:09" in shown
    assert (
        "1 cut of the crop or the layout" in shown and "Confidence about who speaks: 49 %" in shown
    )
    assert "certain" not in shown
    unsure = framing.model_copy(update={"confidence": 0.09})
    assert "not certain" in page(made(1, 1).model_copy(update={"framing": unsure}))
    assert "Framing" not in page(made(1, 1))


def test_no_page_loads_external_resources() -> None:
    text = page(made(1, 1), posters={KEYS.short(1): "data:image/jpeg;base64,AAAA"})
    assert "http://" not in text and "https://" not in text
    assert "<script" not in text and "default-src 'none'" in text


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_text_of_users_and_models_is_escaped(evil: str) -> None:
    spoken = words([(evil, f"{evil} One two."), ("b", "Three four.")])
    failed = Short.failed(2, KEYS.short(2), moment(1, title=evil, why=evil), FAILURE)
    text = page(made(1, 0, title=evil, why=evil), failed, spoken=spoken)
    assert evil not in text
    assert "<script" not in text and "<img" not in text


def test_a_short_without_a_title_has_a_heading() -> None:
    assert ">Short 1</h3>" in page(made(1, 1, title=" \n"))


def test_a_failed_short_shows_error_and_remedy_without_a_video() -> None:
    text = page(made(1, 1), Short.failed(2, KEYS.short(2), moment(4), FAILURE))
    assert FAILURE.message in text
    assert "Start the run again: only the failed shorts are made." in text
    assert "segment_2" not in text
    assert "1 short, 0:05 in all; <strong>1 not made</strong>" in text


def test_the_words_of_a_short_are_marked_and_no_others() -> None:
    spoken = words([("a", "One two three four."), ("a", "Five six."), ("b", "Seven eight.")])
    shorts = [made(1, 0, start=Fraction(2), end=Fraction(7)), made(2, 2)]
    lines = shown_lines(Transcript(tuple(spoken)), MomentMarks.of(spoken, shorts))
    runs = [(run.gap, run.text, run.shorts) for line in lines for run in line.runs]
    assert runs == [
        ("", "One two", ()),
        (" ", "three four.", (1,)),
        ("", "Five", (1,)),
        (" ", "six.", ()),
        ("", "Seven eight.", (2,)),
    ]
    assert [run.begins for line in lines for run in line.runs] == [(), (1,), (), (), (2,)]
    assert [run.ends for line in lines for run in line.runs] == [(), (), (1,), (), (2,)]
    assert [line.speaker for line in lines] == ["a", None, "b"]


def test_words_that_two_shorts_share_link_to_both() -> None:
    text = page(made(1, 1), made(2, 1), spoken=words())
    for number in (1, 2):
        assert f'<a href="#moment-{number}">' in text
        assert f'<a id="moment-{number}" lang="en" href="#short-{number}">' in text


def test_words_recognised_with_low_confidence_are_marked_in_and_outside_of_shorts() -> None:
    texts = ["One", "two", "three", "four", "five", "six"]
    scores = [0.2, 0.1, 0.9, 0.3, 0.6, None]
    spoken = [
        Word(text=text, start=at, end=at + 1, score=score)
        for at, (text, score) in enumerate(zip(texts, scores, strict=True))
    ]
    text = page(made(1, 0, start=Fraction(1), end=Fraction(4)), spoken=spoken)

    marked = re.findall(r'<u title="Recognised with low confidence">(\w+)<', text)
    assert marked == ["One", "two", "four"]
    assert "Underlined: 3 words recognised with low confidence." in text
    shown = re.sub(r"<span class=.unseen.[^>]*>[^<]*</span>|<a [^>]*>[^<]*</a> |<[^>]*>", "", text)
    assert "One two three four five six" in shown


def test_a_transcript_without_confidences_has_no_marked_words() -> None:
    text = page(made(1, 1))
    assert "<u " not in text and "Underlined" not in text


def test_no_space_is_added_at_a_mark_in_a_script_without_spaces() -> None:
    spoken = [
        Word(text=text, start=at, end=at + 1) for at, text in enumerate(["你", "好", "世", "界"])
    ]
    short = made(1, 0, start=Fraction(2), end=Fraction(4))
    [line] = shown_lines(Transcript(tuple(spoken)), MomentMarks.of(spoken, [short]))
    assert [(run.gap, run.text) for run in line.runs] == [("", "你好"), ("", "世界")]


def test_a_moment_without_words_is_not_linked_to_the_transcript() -> None:
    assert "#moment-1" not in page(made(1, 0, start=Fraction(100), end=Fraction(110)))


def test_captions_are_webvtt_with_escaped_text() -> None:
    spoken = words([("a", "Not this."), ("a", "<i>One</i> & two.")])
    short = made(1, 1)
    uri = player_captions(Transcript(tuple(spoken)), MomentMarks.of(spoken, [short]), short)
    assert uri
    text = b64decode(uri.removeprefix("data:text/vtt;base64,")).decode()
    assert (
        text == "WEBVTT\n\n00:00:00.000 --> 00:00:04.500\n<v a>&lt;i&gt;One&lt;/i&gt; &amp; two.\n"
    )
    # A brand's intro is before the moment.
    uri = player_captions(Transcript(tuple(spoken)), MomentMarks.of(spoken, [short]), short, 1.5)
    text = b64decode((uri or "").removeprefix("data:text/vtt;base64,")).decode()
    assert "00:00:01.500 --> 00:00:06.000" in text
    assert "<track" not in page(made(1, 1, start=Fraction(100), end=Fraction(110)))


@pytest.mark.slow
def test_a_page_of_ten_hours_and_two_hundred_shorts_is_written_in_time() -> None:
    spoken = words([("a", "Ten words " * 5)] * 8000)
    shorts = [made(number, number * 30) for number in range(1, 201)]
    begun = time.process_time()
    text = page(*shorts, spoken=spoken)
    assert time.process_time() - begun < 15
    assert text.count("<mark>") >= 200 and len(text) < 8_000_000


def test_links_of_a_page_can_be_replaced() -> None:
    text = page(made(1, 1), made(2, 4))
    old = "videos-cropped-stacked/segment_1_cropped_stacked.mp4"
    replaced = replace_links(text, {old: "a%20talk&more-1.mp4"})
    assert old not in replaced and replaced.count('="a%20talk&amp;more-1.mp4"') == 2
    assert replace_links(replaced, {"a%20talk&more-1.mp4": old}) == text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(Fraction(0), "0:00"), (36.9, "0:36"), (Fraction(930), "15:30"), (3723.5, "1:02:03")],
)
def test_times_are_formatted(seconds: Fraction | float, shown: str) -> None:
    assert clock(seconds) == shown


def test_sizes_are_formatted() -> None:
    assert [size(n) for n in (12, 840_400, 4_230_000)] == ["1 kB", "840 kB", "4.2 MB"]
