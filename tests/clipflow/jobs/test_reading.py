"""Reading sources from S3: the number and size of requests, and failures."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from clipflow.domain.errors import (
    ClipflowError,
    DeadlineExceededError,
    MediaRefusedError,
    SourceChangedError,
    SourceNotFoundError,
    StorageRefusedError,
    StorageUnavailableError,
)
from clipflow.media.ranges import index_length
from clipflow.storage.objects import ObjectHead, ObjectStore
from tests.clipflow.jobs.reading import ProxiedReader, extent, remuxed, run
from tests.faulty_proxy import Fault, Request
from tests.made_media import make_hls, make_source
from tests.programs import AWS

# In seconds. Each span begins 0.1 s after a keyframe, so that the shortest lead has a keyframe.
SPANS = ((62.1, 107.1), (130.1, 175.1), (222.1, 267.1))
FRAGMENTED = ["-movflags", "frag_keyframe+empty_moov+default_base_moof"]


def is_of_source(request: Request) -> bool:
    return request.method == "GET" and "five" in request.path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "max_ratio"),
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
        pytest.param("five.ts", [], 1.25, id="TS, with a tenth of padding"),
    ],
)
def test_the_index_is_read_once_and_little_more_than_the_spans(
    name: str,
    options: list[str],
    max_ratio: float,
    five_minutes: Path,
    proxied_reader: ProxiedReader,
    caplog: pytest.LogCaptureFixture,
) -> None:
    head = proxied_reader.put(remuxed(five_minutes, proxied_reader.folder / name, options))
    probe = proxied_reader.probe(head)
    readings = [proxied_reader.read(head, probe, *span) for span in SPANS]
    sent = sum(request.sent for request in proxied_reader.proxy.requests)
    assert sent <= max_ratio * sum(reading.packet_bytes for reading in readings)
    assert max(len(reading.requests) for reading in readings) <= 16
    assert "read from its start" not in caplog.text
    # Reading a span again needs no index, but only the packets of the span.
    again = proxied_reader.read(head, probe, *SPANS[1])
    assert again.packets == readings[1].packets
    assert again.sent <= 1.15 * again.packet_bytes


@pytest.mark.slow
def test_the_index_of_two_hours_is_read_once_for_five_segments(
    two_hours: Path, proxied_reader: ProxiedReader
) -> None:
    with two_hours.open("rb") as file:
        index = index_length(file.read(64))
    assert index > 6_000_000
    head = proxied_reader.put(two_hours)
    probe = proxied_reader.probe(head)
    opening = len(proxied_reader.proxy.requests)
    assert sum(r.sent for r in proxied_reader.proxy.requests) <= index + 1_000_000
    starts = (500.1, 1700.1, 3100.1, 5300.1, 7000.1)
    readings = [proxied_reader.read(head, probe, start, start + 45) for start in starts]
    later = proxied_reader.proxy.requests[opening:]
    assert all(extent(request).start >= index for request in later)
    assert sum(r.sent for r in later) <= 1.15 * sum(reading.packet_bytes for reading in readings)
    assert len(later) <= 10


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_a_span_after_the_end_of_the_sound_reads_no_more_than_seconds_before_it(
    suffix: str, five_minutes: Path, proxied_reader: ProxiedReader
) -> None:
    # The sound of a picture may be stored long before it, and all was searched for it.
    path = proxied_reader.folder / f"five.{suffix}"
    sound = ["-t", "10", "-i", str(five_minutes), "-map", "0:v", "-map", "1:a"]
    run("-i", str(five_minutes), *sound, "-c", "copy", str(path))
    head = proxied_reader.put(path)
    reading = proxied_reader.read(head, proxied_reader.probe(head), 222.1, 224.1)
    assert reading.sent < path.stat().st_size / 8


@pytest.mark.slow
def test_two_threads_that_open_a_source_at_once_read_its_index_once(
    five_minutes: Path, proxied_reader: ProxiedReader
) -> None:
    head = proxied_reader.put(five_minutes)
    with ThreadPoolExecutor(2) as threads:
        probe, same = threads.map(proxied_reader.probe, [head] * 2)
    assert probe == same
    starts = [extent(request).start for request in proxied_reader.proxy.requests if request.range]
    assert len(starts) == len(set(starts))
    with ThreadPoolExecutor(3) as threads:
        made = list(threads.map(lambda span: proxied_reader.read(head, probe, *span), SPANS))
    assert [r.packets for r in made] == [
        proxied_reader.read(head, probe, *span).packets for span in SPANS
    ]


@pytest.mark.slow
def test_a_source_without_an_index_is_read_from_its_start_which_is_logged(
    five_minutes: Path, proxied_reader: ProxiedReader, caplog: pytest.LogCaptureFixture
) -> None:
    path = remuxed(
        five_minutes, proxied_reader.folder / "five.mkv", ["-f", "matroska", "-live", "1"]
    )
    head = proxied_reader.put(path)
    probe = proxied_reader.probe(head)
    reading = proxied_reader.read(head, probe, *SPANS[0])
    assert f"{head.key} has no index, so it is read from its start" in caplog.text
    indexed = proxied_reader.put(remuxed(five_minutes, proxied_reader.folder / "indexed.mkv"))
    assert reading.packets == proxied_reader.read(indexed, probe, *SPANS[0]).packets


@pytest.mark.slow
def test_a_source_that_is_replaced_between_two_reads_is_an_error(
    five_minutes: Path, proxied_reader: ProxiedReader
) -> None:
    head = proxied_reader.put(five_minutes)
    probe = proxied_reader.probe(head)
    proxied_reader.read(head, probe, *SPANS[0])
    other = remuxed(five_minutes, proxied_reader.folder / "other.mp4", ["-t", "200"])
    proxied_reader.put(other, five_minutes.name)
    with pytest.raises(SourceChangedError, match="was replaced while it was read"):
        proxied_reader.read(head, probe, *SPANS[1])


@pytest.mark.slow
def test_a_source_that_is_deleted_raises_source_not_found(
    five_minutes: Path, proxied_reader: ProxiedReader
) -> None:
    head = proxied_reader.put(five_minutes)
    probe = proxied_reader.probe(head)
    proxied_reader.direct.client.delete_object(Bucket=proxied_reader.direct.bucket, Key=head.key)
    with pytest.raises(SourceNotFoundError, match=f"{head.key} does not exist"):
        proxied_reader.read(head, probe, *SPANS[1])


@pytest.mark.slow
def test_an_interrupted_response_is_resumed_where_it_ended(
    five_minutes: Path, proxied_reader: ProxiedReader
) -> None:
    head = proxied_reader.put(five_minutes)
    probe = proxied_reader.probe(head)
    whole = proxied_reader.read(head, probe, *SPANS[0])
    proxied_reader.proxy.faults = [Fault(is_of_source, times=2, after=300_000)]
    broken = proxied_reader.read(head, probe, *SPANS[0])
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
def test_a_permanent_storage_failure_names_the_source_and_no_credentials(
    fault: Fault, five_minutes: Path, proxied_reader: ProxiedReader
) -> None:
    head = proxied_reader.put(five_minutes)
    probe = proxied_reader.probe(head)
    proxied_reader.proxy.faults = [fault]
    with pytest.raises(StorageUnavailableError, match=f"reading {head.key} failed") as raised:
        proxied_reader.read(head, probe, *SPANS[0])
    assert "X-Amz" not in str(raised.value)
    # The failure has no lasting effect: the same thread can read once storage is available.
    proxied_reader.proxy.faults = []
    assert proxied_reader.read(head, probe, *SPANS[0]).packets


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ({"status": 403}, StorageRefusedError, "refuses one of its chunks"),
        ({"status": 404}, SourceNotFoundError, "one of its chunks is not there"),
        ({"status": 503}, StorageUnavailableError, "one of its chunks could not be read"),
        ({"after": 2_000}, StorageUnavailableError, "one of its chunks could not be read"),
    ],
    ids=["refused", "missing", "unavailable", "broken off"],
)
def test_a_chunk_that_cannot_be_read_is_an_error_and_not_a_gap(
    fault: dict[str, Any],
    error: type[ClipflowError],
    message: str,
    proxied_reader: ProxiedReader,
) -> None:
    source = make_source(proxied_reader.folder / "s.ts", seconds=6, sound=("-c:a", "aac"))
    playlist, chunks = make_hls(source, proxied_reader.folder, "mpegts", "2")
    for chunk in chunks:
        proxied_reader.put(chunk)
    head = proxied_reader.put(playlist)
    probe = proxied_reader.probe(head)
    broken = chunks[1].name
    proxied_reader.proxy.faults = [Fault(lambda request: broken in request.path, **fault)]
    # Without this header, the rest of an interrupted response is not requested.
    proxied_reader.proxy.omitted_headers = ("accept-ranges",)
    with pytest.raises(error, match=message) as raised:
        proxied_reader.read(head, probe, 1.5, 3.5)
    assert head.key in str(raised.value)
    assert "X-Amz" not in str(raised.value)


def test_storage_that_does_not_answer_raises_deadline_exceeded() -> None:
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
            DeadlineExceededError, match=r"Reading it\.mp4: S3 did not respond in time"
        ):
            ObjectStore(client, "bucket").part(ObjectHead("it.mp4", "e", 9, {}), 0, 9)


def test_a_playlist_with_the_name_of_a_video_opens_no_file(proxied_reader: ProxiedReader) -> None:
    secret = proxied_reader.folder / "secret.ts"
    secret.write_bytes(b"\x47" + bytes(187))
    path = proxied_reader.folder / "it.mp4"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{secret}\n")
    with pytest.raises(MediaRefusedError, match=r"it\.mp4 cannot be read"):
        proxied_reader.probe(proxied_reader.put(path))
