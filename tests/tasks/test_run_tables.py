"""The artifacts of results that the Prefect UI shows: tables, summaries and the contact sheet."""

import re
from base64 import b64decode
from fractions import Fraction

from clipflow.domain.clips import ClipResult, Segment
from clipflow.domain.errors import Failure, FailureCode
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.shorts import Moment, Short, ShortsConfig
from clipflow.jobs.render import Render
from clipflow.jobs.transcription import SpeechWindow
from clipflow.results.publish import contact_sheet
from clipflow.speech.audio import RATE
from clipflow.storage.objects import ObjectHead
from tasks.run_page import clip_rows, clip_summary, escape_markdown, short_rows, shorts_summary

CLIP = ClipKeys("t", "episode-1", "clip-1")
VIDEO = ShortsKeys("u", "talk", "warehouse")
FAILURE = Failure(FailureCode.FFMPEG_ERROR, "ffmpeg failed. Check it.")
POSTER = "data:image/jpeg;base64,AAAA"


def link(key: str) -> str:
    return f"http://s3/{key}"


def moment(title: str) -> Moment:
    return Moment(start=Fraction(61), end=Fraction(151, 2), score=87.5, why="", title=title)


def test_each_segment_of_a_clip_is_a_row_in_play_order() -> None:
    later = Segment(start_time=Fraction(5), end_time=Fraction(7), order=1)
    first = Segment(start_time=Fraction(60), end_time=Fraction(125, 2), speaker="host", order=0)
    key = CLIP.segment(0)
    heads = {key: ObjectHead(key, "etag", 1_400_000, {"cut-way": "encoded: HDR"})}
    assert clip_rows(CLIP, [later, first], heads, link) == [
        {
            "Segment": 0,
            "Speaker": "host",
            "Times": "00:01:00-00:01:02.5",
            "Seconds": 2.5,
            "Cut": "encoded: HDR",
            "Size": "1.4 MB",
            "State": "made",
            "Link": f"[open](http://s3/{key})",
        },
        {
            "Segment": 1,
            "Speaker": "",
            "Times": "00:00:05-00:00:07",
            "Seconds": 2.0,
            "Cut": "",
            "Size": "",
            "State": "no longer kept",
            "Link": "",
        },
    ]


def test_each_short_is_a_row_and_a_failed_one_has_its_error() -> None:
    made = Short.made(1, VIDEO.short(1), moment("A title"), 4_200_000)
    failed = Short.failed(2, VIDEO.short(2), moment("Another"), FAILURE)
    first, second = short_rows([made, failed], link)
    assert first == {
        "Short": 1,
        "Title": "A title",
        "Score": 87.5,
        "Times": "00:01:01-00:01:15.5",
        "Size": "4.2 MB",
        "State": "made",
        "Link": f"[open](http://s3/{VIDEO.short(1)})",
    }
    assert (second["State"], second["Link"]) == ("failed: ffmpeg failed. Check it.", "")
    assert shorts_summary(VIDEO, [made, failed], link) == (
        "**1 of 2 shorts** of talk · 0:14 in all"
        " · [results page](http://s3/warehouse/u/talk/index.html)"
    )


def test_a_clip_is_described_in_a_line_with_its_link() -> None:
    made = ClipResult(
        s3_key=CLIP.clip,
        file_size=900_000,
        duration="00:00:03",
        duration_seconds=3,
        resolution="1280x720",
        segment_count=1,
    )
    assert clip_summary(CLIP, made, link) == (
        "**Clip clip-1** of episode-1 · 00:00:03 · 1280x720 · 900 kB"
        " · [watch it](http://s3/episode-1/clips/clip-1/clip.mp4)"
        " · [results page](http://s3/episode-1/clips/clip-1/index.html)"
    )


def test_names_of_steps_have_only_characters_that_the_timeline_of_prefect_draws() -> None:
    window = SpeechWindow(VIDEO, 2, 603 * RATE, 1198 * RATE, "en", "etag", "inputs", ())
    config = ShortsConfig(segment_count=1)
    assert (window.label, Render(VIDEO, config, 1, moment("A title")).label) == (
        "2: 00:10:03-00:19:58",
        "1: 00:01:01-00:01:15.5",
    )


def test_text_of_users_and_models_is_not_markup() -> None:
    assert escape_markdown("[click](javascript:alert(1))\n<img src=x>") == (
        r"\[click\](javascript:alert(1)) \<img src=x\>"
    )
    assert escape_markdown("- a *b* `c`") == r"\- a \*b\* \`c\`"


def test_a_contact_sheet_shows_a_dozen_posters_at_most() -> None:
    for count, size in ((1, (180, 320)), (5, (720, 640)), (20, (720, 960))):
        svg = b64decode(contact_sheet([POSTER] * count).partition(",")[2]).decode()
        assert svg.count(f'href="{POSTER}"') == min(count, 12)
        assert re.findall(r'<svg [^>]*width="(\d+)" height="(\d+)"', svg) == [
            (str(size[0]), str(size[1]))
        ]
