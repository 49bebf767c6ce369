"""What is read of a source in S3: its index once, then little more than the span; and failures."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from clipflow.domain.errors import (
    DeadlineExceededError,
    MediaRefusedError,
    SourceChangedError,
    SourceNotFoundError,
    StorageUnavailableError,
)
from clipflow.media.ranges import index_length
from clipflow.storage.objects import ObjectHead, ObjectStore
from tests.clipflow.jobs.reading import ReadingRoom, extent, remuxed
from tests.faulty_proxy import Fault, Request
from tests.programs import AWS

# The lead of a window lies within the two seconds before, so a keyframe lies in the first of them.
SPANS = ((62.1, 107.1), (130.1, 175.1), (222.1, 267.1))
FRAGMENTED = ["-movflags", "frag_keyframe+empty_moov+default_base_moof"]


def is_of_source(request: Request) -> bool:
    return request.method == "GET" and "five" in request.path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "most"),
    [
        pytest.param("five-end.mp4", [], 1.1, id="MP4, index at the end"),
        pytest.param("five-front.mp4", ["-movflags", "+faststart"], 1.1, id="MP4, at the front"),
        pytest.param(
            "five.fragmented.mp4",
            [*FRAGMENTED[:1], FRAGMENTED[1] + "+global_sidx"],
            1.15,
            id="fragmented MP4 with an index",
        ),
        pytest.param("five.plain.mp4", FRAGMENTED, 1.25, id="fragmented MP4 without"),
        pytest.param("five.mkv", [], 1.1, id="MKV"),
        pytest.param("five.ts", [], 1.25, id="TS, of which a tenth is padding"),
    ],
)
def test_little_more_is_read_than_the_spans_and_the_index_once(
    name: str,
    options: list[str],
    most: float,
    five_minutes: Path,
    reading_room: ReadingRoom,
    caplog: pytest.LogCaptureFixture,
) -> None:
    head = reading_room.put(remuxed(five_minutes, reading_room.folder / name, options))
    probe = reading_room.probe(head)
    readings = [reading_room.read(head, probe, *span) for span in SPANS]
    sent = sum(request.sent for request in reading_room.proxy.requests)
    assert sent <= most * sum(reading.own for reading in readings)
    assert max(len(reading.requests) for reading in readings) <= 16
    assert "read from its start" not in caplog.text
    # The same once more needs no index: what is read is the span alone.
    again = reading_room.read(head, probe, *SPANS[1])
    assert again.packets == readings[1].packets
    assert again.sent <= 1.15 * again.own


@pytest.mark.slow
def test_the_index_of_two_hours_is_read_once_for_five_segments(
    two_hours: Path, reading_room: ReadingRoom
) -> None:
    with two_hours.open("rb") as file:
        index = index_length(file.read(64))
    assert index > 6_000_000
    head = reading_room.put(two_hours)
    probe = reading_room.probe(head)
    opening = len(reading_room.proxy.requests)
    assert sum(r.sent for r in reading_room.proxy.requests) <= index + 1_000_000
    starts = (500.1, 1700.1, 3100.1, 5300.1, 7000.1)
    readings = [reading_room.read(head, probe, start, start + 45) for start in starts]
    later = reading_room.proxy.requests[opening:]
    assert all(extent(request).start >= index for request in later)
    assert sum(r.sent for r in later) <= 1.15 * sum(reading.own for reading in readings)
    assert len(later) <= 10


@pytest.mark.slow
def test_two_threads_that_open_a_source_at_once_read_its_index_once(
    five_minutes: Path, reading_room: ReadingRoom
) -> None:
    head = reading_room.put(five_minutes)
    with ThreadPoolExecutor(2) as threads:
        probe, same = threads.map(reading_room.probe, [head] * 2)
    assert probe == same
    starts = [extent(request).start for request in reading_room.proxy.requests if request.range]
    assert len(starts) == len(set(starts))
    with ThreadPoolExecutor(3) as threads:
        made = list(threads.map(lambda span: reading_room.read(head, probe, *span), SPANS))
    assert [r.packets for r in made] == [
        reading_room.read(head, probe, *span).packets for span in SPANS
    ]


@pytest.mark.slow
def test_a_source_without_an_index_is_read_from_its_start_and_the_log_says_so(
    five_minutes: Path, reading_room: ReadingRoom, caplog: pytest.LogCaptureFixture
) -> None:
    path = remuxed(five_minutes, reading_room.folder / "five.mkv", ["-f", "matroska", "-live", "1"])
    head = reading_room.put(path)
    probe = reading_room.probe(head)
    reading = reading_room.read(head, probe, *SPANS[0])
    assert f"{head.key} has no index to seek by: it is read from its start" in caplog.text
    indexed = reading_room.put(remuxed(five_minutes, reading_room.folder / "indexed.mkv"))
    assert reading.packets == reading_room.read(indexed, probe, *SPANS[0]).packets


@pytest.mark.slow
def test_a_source_that_is_replaced_between_two_readings_is_never_mixed(
    five_minutes: Path, reading_room: ReadingRoom
) -> None:
    head = reading_room.put(five_minutes)
    probe = reading_room.probe(head)
    reading_room.read(head, probe, *SPANS[0])
    other = remuxed(five_minutes, reading_room.folder / "other.mp4", ["-t", "200"])
    reading_room.put(other, five_minutes.name)
    with pytest.raises(SourceChangedError, match="was replaced while it was read"):
        reading_room.read(head, probe, *SPANS[1])


@pytest.mark.slow
def test_a_source_that_is_taken_away_is_missed(
    five_minutes: Path, reading_room: ReadingRoom
) -> None:
    head = reading_room.put(five_minutes)
    probe = reading_room.probe(head)
    reading_room.direct.client.delete_object(Bucket=reading_room.direct.bucket, Key=head.key)
    with pytest.raises(SourceNotFoundError, match=f"{head.key} is not there"):
        reading_room.read(head, probe, *SPANS[1])


@pytest.mark.slow
def test_a_body_that_breaks_off_is_taken_up_where_it_did(
    five_minutes: Path, reading_room: ReadingRoom
) -> None:
    head = reading_room.put(five_minutes)
    probe = reading_room.probe(head)
    whole = reading_room.read(head, probe, *SPANS[0])
    reading_room.proxy.faults = [Fault(is_of_source, times=2, after=300_000)]
    broken = reading_room.read(head, probe, *SPANS[0])
    assert broken.packets == whole.packets
    assert broken.sent == whole.sent
    assert len(broken.requests) == len(whole.requests) + 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault(is_of_source, after=10_000),
        Fault(is_of_source, status=403),
        Fault(is_of_source, status=503),
    ],
    ids=["breaks off", "refuses", "fails"],
)
def test_storage_that_fails_for_good_is_told_with_the_source_and_no_credentials(
    fault: Fault, five_minutes: Path, reading_room: ReadingRoom
) -> None:
    head = reading_room.put(five_minutes)
    probe = reading_room.probe(head)
    reading_room.proxy.faults = [fault]
    with pytest.raises(StorageUnavailableError, match=f"reading {head.key} failed") as raised:
        reading_room.read(head, probe, *SPANS[0])
    assert "X-Amz" not in str(raised.value)
    # Nothing of it stays: the same thread reads on when storage is back.
    reading_room.proxy.faults = []
    assert reading_room.read(head, probe, *SPANS[0]).packets


def test_storage_that_never_answers_is_a_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}",
            region_name="us-east-1",
            aws_access_key_id=AWS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=AWS["AWS_SECRET_ACCESS_KEY"],
            config=Config(read_timeout=0.2, retries={"total_max_attempts": 2}),
        )
        with pytest.raises(
            DeadlineExceededError, match=r"Reading it\.mp4: S3 did not answer in time"
        ):
            ObjectStore(client, "bucket").part(ObjectHead("it.mp4", "e", 9, {}), 0, 9)


def test_a_playlist_under_another_name_opens_nothing(reading_room: ReadingRoom) -> None:
    secret = reading_room.folder / "secret.ts"
    secret.write_bytes(b"\x47" + bytes(187))
    path = reading_room.folder / "it.mp4"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{secret}\n")
    with pytest.raises(MediaRefusedError, match=r"it\.mp4 cannot be read"):
        reading_room.probe(reading_room.put(path))
