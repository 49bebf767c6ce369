"""Regression tests for defects that fuzzing found, one for each."""

import copy
import json
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from clipflow.captions.drawing import captions
from clipflow.domain.caption_styles import packaged_style
from clipflow.domain.clips import ClipRecord, ClipRequest, TrackRecord
from clipflow.domain.errors import InvalidInputError, MediaRefusedError, redact
from clipflow.domain.events import to_prefect_event
from clipflow.domain.transcript import Transcript, Word, lines, read_words
from clipflow.media.hls import parse_playlist
from clipflow.media.probe import probe_source
from clipflow.media.source import FileSource
from clipflow.subtitles.cue_files import srt_text
from clipflow.subtitles.reading import read_subtitles
from tests.clipflow.captions.drawing import render_captions
from tests.fuzz.test_entry_points import EVENT, TIMES
from tests.made_media import make_source


def source(name: str, content: bytes) -> FileSource:
    # A unique ETag, because index blocks are cached by name and ETag.
    etag = str(zlib.crc32(content))
    return FileSource(name, etag, len(content), lambda start, end: content[start:end])


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (deep(400), "deep"),
        (10**30, "64 bits"),
        ("\ud800", "lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
    ],
)
def test_an_event_with_an_unserializable_extra_field_is_refused(value: Any, why: str) -> None:
    event = copy.deepcopy(EVENT)
    event["detail"]["extra"] = value
    with pytest.raises(InvalidInputError, match=rf"detail\.extra.*{why}"):
        to_prefect_event(json.dumps(event))


@pytest.mark.parametrize("order", [1e300, -1e10])
def test_an_order_out_of_dynamodbs_range_is_refused(order: float) -> None:
    record = {"segments": [{"startTime": 0, "endTime": 1, "order": order}]}
    with pytest.raises(InvalidInputError, match=r"segments\.0\.order"):
        ClipRecord.read(record, "the record").complete_request(ClipRequest(clip_id="c"))


def test_an_order_below_dynamodbs_range_becomes_zero() -> None:
    record = {"segments": [{"startTime": 0, "endTime": 1, "order": 5e-324}]}
    request = ClipRecord.read(record, "the record").complete_request(ClipRequest(clip_id="c"))
    assert request.segments
    assert request.segments[0].order == 0


@pytest.mark.parametrize("key", ["a/../b", "./a", "a/./b", "/a", "a\nb", "a\0", "a\u2028b", ""])
def test_a_key_with_path_traversal_or_control_characters_is_refused(key: str) -> None:
    with pytest.raises(InvalidInputError, match="s3Key"):
        TrackRecord.read({"s3Key": key}, "the record of track host")


@pytest.mark.parametrize("key", ["a b.mp4", "Aufnahme\u202f12.mov", "日本/話.mp4", "a..b"])
def test_an_ordinary_key_is_accepted(key: str) -> None:
    assert TrackRecord.read({"s3Key": key}, "the record").s3_key == key


def test_a_message_stays_one_line_with_any_input() -> None:
    with pytest.raises(InvalidInputError) as caught:
        to_prefect_event(json.dumps({**EVENT, "id": "\n2025 ERROR all is lost"}))
    assert "\n" not in caught.value.message


def test_a_message_lists_the_first_of_many_errors() -> None:
    record = {"segments": [{"startTime": "x", "endTime": "y"}] * 1000}
    with pytest.raises(InvalidInputError, match="and 1992 more") as caught:
        ClipRecord.read(record, "the record").complete_request(ClipRequest(clip_id="c"))
    assert len(caught.value.message) < 2000


def test_an_impossible_time_is_refused_with_its_word_number() -> None:
    words = [{"word": "a", "start": 0, "end": 1}, {"word": "b", "start": 1, "end": 1e300}]
    with pytest.raises(InvalidInputError, match=r"word 2 is not valid: end"):
        read_words(json.dumps(words), "words.json")


def test_subtitles_later_than_48_hours_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="later than 48 hours"):
        read_subtitles(b"1\n99:59:59,000 --> 99:59:59,999\nHello.\n", "original.srt")


def test_transcribed_text_cannot_begin_a_new_cue() -> None:
    words = [Word.model_validate({"word": w, "start": 1, "end": 2}) for w in
            ("00:00:00,000", "-->", "00:10:00,000")]  # fmt: skip
    assert srt_text(Transcript(tuple(words))).count("-->") == 1


@pytest.mark.parametrize("step", [0.0, 0.5])
def test_many_words_without_sentence_ends_are_handled_in_time(step: float) -> None:
    count = 1500
    starts = [n * 0.11 + step * n * n / count / 2 for n in range(count)]
    words = tuple(
        Word.model_validate({"word": "so", "start": t * bool(step), "end": t * bool(step)})
        for t in starts
    )
    began = time.monotonic()
    assert sum(len(line.words) for line in lines(words)) == count
    assert srt_text(Transcript(words)).count("so") == count
    assert "Dialogue" in captions(words, TIMES, packaged_style("plain"), 960)
    assert time.monotonic() - began < 60


def test_a_master_playlist_without_variants_is_refused() -> None:
    text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-ENDLIST\n"
    with pytest.raises(InvalidInputError, match="playlist without variants"):
        parse_playlist(text, "e/index.m3u8")


@pytest.mark.parametrize("seconds", ["nan", "inf", "-4", "1e400"])
def test_a_chunk_with_an_invalid_duration_is_refused(seconds: str) -> None:
    text = f"#EXTM3U\n#EXTINF:{seconds},\n0.ts\n#EXT-X-ENDLIST\n"
    with pytest.raises(InvalidInputError, match="chunk 0 lasts"):
        parse_playlist(text, "e/index.m3u8")


def test_a_title_in_latin_1_does_not_prevent_probing(tmp_path: Path) -> None:
    path = make_source(
        tmp_path / "a.mkv", size=(64, 48), seconds=1, output=("-metadata:s:v", "title=TITEL")
    )
    assert probe_source(
        source("a.mkv", path.read_bytes().replace(b"TITEL", b"\xd6\xff\xfc\xe4\xdf"))
    ).width


def test_an_unknown_codec_is_given_as_the_reason(tmp_path: Path) -> None:
    path = make_source(tmp_path / "a.mp4", size=(64, 48), seconds=1, sound=("-c:a", "alac"))
    unknown = path.read_bytes()
    with pytest.raises(MediaRefusedError, match="no moving picture that can be decoded"):
        probe_source(source("a.mp4", unknown.replace(b"avc1", b"zzzz")))
    with pytest.raises(MediaRefusedError, match=r"No sound of b\.mp4 can be decoded"):
        probe_source(source("b.mp4", unknown.replace(b"alac", b"zzzz")))


def png(width: int, height: int) -> bytes:
    """A black PNG picture, compressed to about a thousandth of its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj()
    row = bytes(1 + width // 8)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("size", [(16_000, 8_000), (8, 20_000), (65_528, 65_535)])
def test_a_decompression_bomb_is_refused(size: tuple[int, int]) -> None:
    width, height = size
    bomb = png(width, min(height, 20_000))
    with pytest.raises(MediaRefusedError, match=r"too large|cannot be read|can be decoded"):
        probe_source(source("bomb.png", bomb))


def test_an_extreme_pixel_aspect_ratio_is_refused(tmp_path: Path) -> None:
    wide = ("-vf", "setsar=500/1:max=1000")
    # 640 lines, because newer versions of ffmpeg drop such an aspect ratio from smaller pictures
    # when they write the file.
    path = make_source(tmp_path / "a.mp4", size=(64, 640), seconds=1, sound=None, filters=wide)
    with pytest.raises(MediaRefusedError, match="too large"):
        probe_source(source("a.mp4", path.read_bytes()))


@pytest.mark.parametrize(
    "text",
    [
        "GET https://b.s3.amazonaws.com/k?X-Amz-Signature=PRIVATE failed",
        "HTTPS://h/k?x=1&X-Amz-Credential=PRIVATE",
        "Max retries exceeded with url: /b/k?X-Amz-Algorithm=A&X-Amz-Signature=PRIVATE (Caused",
        "https://user:PRIVATE@host/path",
        "X-Amz-Security-Token: PRIVATE",
        "'X-Amz-Signature': 'PRIVATE'",
        "Authorization: Bearer PRIVATE",
        "{'authorization': 'AWS4-HMAC-SHA256 Credential=PRIVATE, Signature=PRIVATE'}",
        "AWS_SECRET_ACCESS_KEY=PRIVATE",
        "OPENAI_API_KEY: PRIVATE",
        "HF_TOKEN=PRIVATE",
        "key AKIAPRIVATEPRIVATE00 is wrong",
    ],
)
def test_no_secret_stays_in_a_message(text: str) -> None:
    assert "PRIVATE" not in redact(text)
    assert "PRIVATE" not in str(InvalidInputError(text, text))


def test_text_without_secrets_is_unchanged() -> None:
    text = "Reading https://host/a/b.mp4 failed at 00:15:30 (what?), see https://host/docs."
    assert redact(text) == text


@pytest.mark.slow
def test_captions_are_drawn_from_a_scratch_folder_with_special_characters(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s 100%: [a],b;c=d {e} \\ "f"'
    folder.mkdir()
    word = Word.model_validate({"word": "{\\an8}H\\Nello}", "start": 0, "end": 1})
    assert all(frame.ink.any() for frame in render_captions([word], TIMES[:3], folder))
