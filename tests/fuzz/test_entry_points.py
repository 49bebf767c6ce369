"""Fuzzing of events, records, configs, transcripts and playlists: each is accepted or refused.

Each input is generated from a seed, so that every run is the same and a failure can be repeated.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from clipflow.captions.drawing import captions
from clipflow.domain.caption_styles import packaged_style
from clipflow.domain.clips import ClipRecord, ClipRequest, TrackRecord
from clipflow.domain.errors import InvalidInputError, NoMomentsError
from clipflow.domain.events import to_prefect_event
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.model import parse_json
from clipflow.domain.shorts import ShortsConfig
from clipflow.domain.transcript import LONGEST, Transcript, read_words
from clipflow.domain.transitions import claim
from clipflow.highlights.moments import pick
from clipflow.highlights.pieces import Brief
from clipflow.media.hls import Playlist, parse_playlist
from clipflow.storage.records import _decimals, plain
from clipflow.subtitles.cue_files import srt_text
from clipflow.subtitles.reading import read_subtitles
from tests.fuzz.hostile import HOSTILE_TEXTS, anything, corrupted, number, text

# Seconds that one input may take, on a busy machine.
DEADLINE = 10.0
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

EVENT: dict[str, Any] = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "source": "nullcheck.clips",
    "detail-type": "Begin Clip Generation",
    "time": "2025-01-15T10:30:00Z",
    "detail": {
        "tenantId": "t-1",
        "episodeId": "e-1",
        "clips": [
            {
                "clipId": "c-1",
                "sourceKey": "e-1/tracks/host.mp4",
                "segments": [
                    {"startTime": "00:15:30", "endTime": "00:17:45.5", "speaker": "host"},
                    {"startTime": 930, "endTime": 1065.25, "order": 2, "sourceKey": "a/b.mp4"},
                ],
            }
        ],
    },
}
RECORD = {
    "status": "detected",
    "sourceKey": "e-1/tracks/host.mp4",
    "s3Key": "e-1/tracks/guest.mp4",
    "speakers": ["host", "guest"],
    "segments": EVENT["detail"]["clips"][0]["segments"],
}
CONFIG = {
    "segment_count": 5,
    "target_short_video_duration_in_seconds": 30,
    "user_id": "u",
    "video_id": "v",
    "background_video": "klippers/backgrounds/game.mp4",
    "layout": "stack",
    "caption_style": "karaoke",
    "language": "en",
}
WORDS = [
    {"word": f"{text}.", "start": n * 0.4, "end": n * 0.4 + 0.3, "score": 0.9, "speaker": "A"}
    for n, text in enumerate(("Hello", "there", "this", "is", "a", "talk", "of", "tests") * 4)
]
TIMES = [Fraction(n, 25) for n in range(100)]


@contextmanager
def refusing(outcomes: Counter[str]) -> Iterator[None]:
    """Count accepted and refused inputs; only a refusal of one line may be raised."""
    began, message, outcome = time.monotonic(), "nothing is wrong", "accepted"
    try:
        yield
    except (InvalidInputError, NoMomentsError) as refusal:
        message, outcome = refusal.message, "refused"
    outcomes[outcome] += 1
    assert 15 < len(message) < 5000
    assert not re.search("[\x00\r\n]", message)
    assert time.monotonic() - began < DEADLINE


def an_event(chance: Random) -> None:
    accepted = to_prefect_event(json.dumps(corrupted(EVENT, chance)))
    accepted.model_dump_json()
    detail = json.loads(accepted.payload["detail"])
    for clip in detail.get("clips") or [{"clipId": "c"}]:
        keys = ClipKeys(detail["tenantId"], detail["episodeId"], clip["clipId"], "{tenantId}/")
        stays_within(keys.clip, f"{detail['tenantId']}/{detail['episodeId']}/clips/")
        stays_within(keys.segment(0), f"{detail['tenantId']}/{detail['episodeId']}/clips/")
        can_be_stored(ClipRequest.read(clip, "the clip").initial_attributes)


def stays_within(key: str, folder: str) -> None:
    assert key.startswith(folder)
    assert not {".", "..", ""} & set(key.split("/"))
    assert not CONTROLS.search(key)


def can_be_stored(initial_attributes: Any) -> None:
    """Check that DynamoDB accepts an event's attributes, since they are stored in the record."""
    TypeSerializer().serialize(_decimals(initial_attributes))
    claim("run", "now", initial_attributes, None).arguments()


def a_record(chance: Random) -> None:
    record = plain(corrupted(RECORD, chance))
    request = ClipRecord.read(record, "the record").complete_request(ClipRequest(clip_id="c"))
    for segment in request.segments or []:
        assert 0 <= segment.start_time < segment.end_time < 10**9
        assert not {".", ".."} & set((segment.source_key or "").split("/"))
    can_be_stored(request.initial_attributes)


def a_track(chance: Random) -> None:
    track = TrackRecord.read(plain(corrupted(RECORD, chance)), "the record of track host")
    assert not {".", ".."} & set(track.s3_key.split("/"))
    assert not CONTROLS.search(track.s3_key)


def a_config(chance: Random) -> None:
    generated = json.dumps(corrupted(CONFIG, chance))
    read = ShortsConfig.read(parse_json(generated, "the config"), "the config")
    assert 1 <= read.segment_count <= 200
    assert 5 <= read.target_seconds <= 600
    assert read.language is None or (read.language.isascii() and len(read.language) < 64)
    stays_within(ShortsKeys(read.user_id or "u", read.video_id or "v", "s").short(1), "s/")


def words(chance: Random) -> None:
    generated = corrupted(WORDS, chance)
    if chance.random() < 0.5:
        generated = [
            {"word": text(chance), "start": number(chance) % 50, "end": number(chance) % 50}
            for _ in range(chance.randrange(30))
        ]
    check_outputs(Transcript(read_words(json.dumps(generated), "words.json"), None))


def subtitles(chance: Random) -> None:
    if chance.random() < 0.2:
        content = chance.randbytes(chance.randrange(200))
    else:
        cues = (
            f"{number}\n{moment(chance)} --> {moment(chance)}\n{text(chance)} {text(chance)}"
            for number in range(chance.randrange(8))
        )
        content = "\n\n".join(cues).encode("utf-8", "surrogatepass")
    check_outputs(read_subtitles(content, "original.srt"))


def moment(chance: Random) -> str:
    odd = ("99:59:59,999", "-00:00:01,000", "00:00:01.5", "1:2", "x", "48:00:00,000", "00:00:00,0")
    seconds, rest = chance.randrange(60), chance.randrange(1000)
    return chance.choice((*odd, *[f"00:00:{seconds:02},{rest:03}"] * len(odd)))


def check_outputs(transcript: Transcript) -> None:
    """Make captions, subtitles and moments of a transcript, and check them."""
    assert all(0 <= word.start <= LONGEST for word in transcript.words)
    has_only_known_tags(captions(transcript.words, TIMES, packaged_style("plain"), 960))
    has_only_known_tags(
        captions(transcript.within(0.5, 2.5).words, TIMES, packaged_style("karaoke"), 960)
    )
    written = srt_text(transcript)
    times = r"\d\d:\d\d:\d\d,\d{3}"
    assert len(re.findall(f"^{times} --> {times}$", written, re.MULTILINE)) == written.count("-->")
    moments = pick(transcript, Brief(3, 10.0, Fraction(60)))
    assert all(0 <= moment.start < moment.end <= 60 for moment in moments)


KNOWN_TAGS = re.compile(
    r"\{(?:\\pos\(540,960\)|\\fs[\d.]+|\\bord[\d.]+|\\1c&H[0-9A-F]{6}&|\\fn[A-Za-z0-9 ]+)+\}"
)


def has_only_known_tags(written: str) -> None:
    events = [line for line in written.partition("[Events]\n")[2].split("\n") if line]
    assert events[0].startswith("Format: ")
    for line in events[1:]:
        assert line.startswith("Dialogue: ")
        rest = KNOWN_TAGS.sub("", line.split(",", 9)[9]).replace(r"\N", "")
        assert not re.search(r"(?<!\\)[{}]|\\[^{}\u2060]", rest), rest


TAGS = (
    "#EXTINF:8.0,", "#EXTINF:nan,", "#EXTINF:inf,", "#EXTINF:-4,", "#EXTINF:1e400,", "#EXTINF:,",
    "#EXTINF:8,title\0http://127.0.0.1/x", "#EXTINF:8,t\u2028http://127.0.0.1/x", "#EXTINF",
    "#EXT-X-BYTERANGE:10@0", "#EXT-X-BYTERANGE:9", "#EXT-X-BYTERANGE:x@y", "#EXT-X-BYTERANGE:-1@-1",
    "#EXT-X-BYTERANGE:99999999999999999999@0", "#EXT-X-BYTERANGE",
    '#EXT-X-KEY:METHOD=AES-128,URI="k"', "#EXT-X-KEY:METHOD=NONE", "#EXT-X-KEY:METHOD",
    "#EXT-X-KEY",
    '#EXT-X-KEY:METHOD=AES-128,URI="file:///etc/passwd"', '#EXT-X-KEY:METHOD=X,URI="k"',
    '#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x1,URI="http://127.0.0.1/"',
    '#EXT-X-KEY:METHOD=AES-128,URI="k",IV=http://127.0.0.1/',
    '#EXT-X-MAP:URI="i.mp4"', '#EXT-X-MAP:URI="../i.mp4"', '#EXT-X-MAP:URI="i",BYTERANGE="5@x"',
    '#EXT-X-MAP:URI="data:,x"', "#EXT-X-MAP:", "#EXT-X-DISCONTINUITY", "#EXT-X-GAP",
    "#EXT-X-MEDIA-SEQUENCE:7", "#EXT-X-MEDIA-SEQUENCE:-7", "#EXT-X-MEDIA-SEQUENCE:x",
    "#EXT-X-TARGETDURATION:9", "#EXT-X-TARGETDURATION:nan", "#EXT-X-VERSION:x",
    "#EXT-X-STREAM-INF:BANDWIDTH=1", "#EXT-X-STREAM-INF:BANDWIDTH=x,RESOLUTION=1x",
    "#EXT-X-STREAM-INF", "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1", "#EXT-X-MEDIA:TYPE=AUDIO",
    '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",URI="http://127.0.0.1/a.m3u8"',
    "#EXT-X-PROGRAM-DATE-TIME:x", "#EXT-X-PROGRAM-DATE-TIME:9999-12-31T23:59:59Z",
    '#EXT-X-PART:DURATION=x,URI="http://127.0.0.1/"', '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="tcp://h"',
    '#EXT-X-SESSION-KEY:METHOD=AES-128,URI="http://127.0.0.1/"', "#EXT-X-DATERANGE:ID=x",
    "#EXT-X-SKIP:SKIPPED-SEGMENTS=x", "#EXT-X-CUE-OUT:x", "#EXT-X-START:TIME-OFFSET=x",
    "#EXT-X-TILES:", "#EXT-X-ENDLIST", "#EXTM3U", "", '"' * 50, "#" + "x" * 20_000,
)  # fmt: skip


def a_playlist(chance: Random) -> None:
    uris = (
        "0.ts",
        "a/b.ts",
        "0.ts?x=1",
        "a b.ts",
        "#x",
        chance.choice(HOSTILE_TEXTS),
        text(chance),
    )
    lines = [
        chance.choice(TAGS) if chance.random() < 0.6 else chance.choice(uris)
        for _ in range(chance.randrange(10))
    ]
    lines = ["#EXTM3U", "#EXTINF:8.0,", "0.ts", *lines, "#EXT-X-ENDLIST"]
    playlist = parse_playlist("\n".join(lines[chance.random() < 0.05 :]), "e/hls/index.m3u8")
    if isinstance(playlist, Playlist):
        for part in (playlist, playlist.around(Fraction(1), Fraction(9))):
            refers_only_to_the_store(part.text(lambda uri: "https://store/key"))
    else:
        stays_within(playlist, "e/hls/")


def refers_only_to_the_store(written: str) -> None:
    """Check a playlist as a parser sees it that ends lines at any control character."""
    assert written.isascii()
    lines = re.split(r"[\x00-\x1f]", written)
    named = [line for line in lines if line and not line.startswith("#")]
    named += re.findall(r'URI="?([^",]*)', written)
    assert set(named) == {"https://store/key"}
    assert not re.search(r"nan|inf", written)


def any_json(chance: Random) -> None:
    """Pass JSON that is no event, record, config or transcript to every entry point."""
    value = anything(chance)
    body = json.dumps(value)
    for entry_point in (
        lambda: to_prefect_event(body),
        lambda: ClipRecord.read(plain(value), "it").complete_request(ClipRequest(clip_id="c")),
        lambda: TrackRecord.read(value, "it"),
        lambda: ShortsConfig.read(parse_json(body, "it"), "it"),
        lambda: read_words(body, "it"),
        lambda: parse_playlist(body, "e/hls/index.m3u8"),
    ):
        with refusing(Counter()):
            entry_point()


ENTRY_POINTS: dict[Callable[[Random], None], int] = {
    an_event: 1000,
    a_record: 1000,
    a_track: 300,
    a_config: 700,
    words: 200,
    subtitles: 200,
    a_playlist: 1000,
    any_json: 300,
}


@pytest.mark.parametrize(
    ("entry_point", "count"),
    ENTRY_POINTS.items(),
    ids=[entry_point.__name__ for entry_point in ENTRY_POINTS],
)
def test_any_input_is_accepted_or_refused(
    entry_point: Callable[[Random], None], count: int
) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(count):
        try:
            with refusing(outcomes):
                entry_point(Random(f"{entry_point.__name__} {seed}"))
        except BaseException as error:
            error.add_note(f"{entry_point.__name__}(Random('{entry_point.__name__} {seed}'))")
            raise
    # A generator of inputs that are all valid, or all invalid, would test little.
    assert entry_point is any_json or min(outcomes["accepted"], outcomes["refused"]) > count / 20, (
        outcomes
    )
