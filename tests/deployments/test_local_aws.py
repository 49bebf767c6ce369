"""The AWS of the local stack reads ranges of large objects, and keeps records if it is killed."""

import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.deployments.stored_aws import StoredAws
from tests.programs import eventually

BUCKET, KEY = "clipflow-media", "e/tracks/main.mp4"
SIZE = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def source() -> bytes:
    return random.Random(1).randbytes(SIZE)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory, source: bytes) -> Iterator[StoredAws]:
    """A running local AWS with one object of 64 MiB."""
    aws = StoredAws(tmp_path_factory.mktemp("stored"))
    aws.start()
    aws.client("s3").create_bucket(Bucket=BUCKET)
    aws.client("s3").put_object(Bucket=BUCKET, Key=KEY, Body=source, ContentType="video/mp4")
    yield aws
    aws.stop()


@pytest.mark.slow
def test_ranges_are_exact_and_use_constant_memory(aws: StoredAws, source: bytes) -> None:
    s3 = aws.client("s3")

    def read(start: int) -> bool:
        response = s3.get_object(Bucket=BUCKET, Key=KEY, Range=f"bytes={start}-{start + 999_999}")
        assert response["ContentRange"] == f"bytes {start}-{start + 999_999}/{SIZE}"
        assert response["ContentType"] == "video/mp4"
        return bool(response["Body"].read() == source[start : start + 1_000_000])

    aws.reset_peak_memory()
    before = aws.peak_memory()
    with ThreadPoolExecutor(8) as readers:
        assert all(readers.map(read, range(0, SIZE - 1_000_000, 3_000_000)))
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == source
    assert aws.peak_memory() - before < SIZE / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("bytes=-3", (SIZE - 3, SIZE)),
        ("bytes=5-5", (5, 6)),
        (f"bytes={SIZE - 2}-", (SIZE - 2, SIZE)),
    ],
)
def test_ranges_of_every_form(
    aws: StoredAws, source: bytes, requested: str, expected: tuple[int, int]
) -> None:
    response = aws.client("s3").get_object(Bucket=BUCKET, Key=KEY, Range=requested)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert response["Body"].read() == source[slice(*expected)]


@pytest.mark.slow
def test_a_client_may_disconnect_during_a_response(aws: StoredAws, source: bytes) -> None:
    """ffmpeg disconnects at every seek. Also reads an empty object and a missing one."""
    s3 = aws.client("s3")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": KEY})
    with httpx.Client() as client:
        for _ in range(5):
            with client.stream("GET", url, headers={"Range": "bytes=0-"}) as response:
                assert response.headers["Content-Length"] == str(SIZE)
                assert next(response.iter_bytes())[:8] == source[:8]
    s3.put_object(Bucket=BUCKET, Key="empty", Body=b"")
    assert s3.get_object(Bucket=BUCKET, Key="empty")["Body"].read() == b""
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=BUCKET, Key="none")


@pytest.mark.slow
def test_a_record_survives_a_kill(tmp_path: Path) -> None:
    aws = StoredAws(tmp_path)
    aws.start()
    key = {"pk": {"S": "tenant#episode"}, "sk": {"S": "clip#one"}}
    dynamodb = aws.client("dynamodb")
    dynamodb.create_table(
        TableName="records",
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName="records", Item=key)
    state_file = tmp_path / "state" / "dynamodb.json"
    eventually(lambda: state_file.exists() and "clip#one" in state_file.read_text(), 10)
    aws.stop(signal.SIGKILL)

    aws.start()
    assert dynamodb.get_item(TableName="records", Key=key)["Item"] == key
    aws.stop()
