"""Reads and downloads from an S3 whose responses are interrupted or refused."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import randbytes
from threading import Barrier
from typing import Literal

import pytest
from urllib3.exceptions import SSLError
from urllib3.response import HTTPResponse

from clipflow.domain.errors import (
    Failure,
    InvalidInputError,
    SourceChangedError,
    StorageRefusedError,
    StorageUnavailableError,
    TerminalError,
)
from clipflow.settings import settings
from clipflow.storage import aws
from clipflow.storage.objects import ObjectStore, object_store
from tests.faulty_proxy import Fault, FaultyProxy, Request

KEY = "objects/source.bin"


@pytest.fixture
def proxy(local_aws: str, objects: ObjectStore) -> Iterator[FaultyProxy]:
    """A proxy to the local S3, which has an object of 100 kB at `KEY`."""
    objects.client.put_object(Bucket=objects.bucket, Key=KEY, Body=bytes(100_000))
    with FaultyProxy(local_aws).running() as faulty, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", faulty.url)
        for cached in (settings, aws.s3_client):
            cached.cache_clear()
        yield faulty
    for cached in (settings, aws.s3_client):
        cached.cache_clear()


def is_read(request: Request) -> bool:
    return request.method == "GET" and request.path.endswith(KEY)


def test_a_download_that_is_always_interrupted_is_a_storage_error(
    proxy: FaultyProxy, tmp_path: Path
) -> None:
    proxy.faults = [Fault(is_read, after=10_000)]
    with pytest.raises(StorageUnavailableError, match=f"downloading {KEY} failed") as raised:
        object_store().download(KEY, tmp_path / "it")
    assert Failure.of(raised.value).code == "STORAGE_ERROR"
    proxy.faults = [Fault(is_read, times=2, after=10_000)]
    object_store().download(KEY, tmp_path / "it")
    assert (tmp_path / "it").read_bytes() == bytes(100_000)


def test_a_small_object_whose_body_ends_early_is_read_again(proxy: FaultyProxy) -> None:
    proxy.faults = [Fault(is_read, times=2, after=10_000)]
    assert object_store().data(KEY, 200_000) == bytes(100_000)
    assert sum(map(is_read, proxy.requests)) == 3


@pytest.mark.parametrize("has_checksum", [True, False])
@pytest.mark.parametrize("length", ["sent", "missing"])
def test_a_body_shorter_than_head_says_is_read_again(
    length: Literal["sent", "missing"],
    has_checksum: bool,
    proxy: FaultyProxy,
    tmp_path: Path,
) -> None:
    """As a proxy may forward the received part of an interrupted response as a complete one."""
    if not has_checksum:
        proxy.omitted_headers = ("x-amz-checksum",)
    store = object_store()
    head = store.head(KEY)
    assert head

    def downloaded() -> bytes:
        store.download(KEY, tmp_path / "it")
        return (tmp_path / "it").read_bytes()

    reads = [lambda: store.data(KEY, 200_000), downloaded]
    if length == "missing":
        # With a length, a range that is not the one requested is refused at once.
        reads.append(lambda: store.part(head, 0, 100_000))
    for read in reads:
        proxy.faults = [Fault(is_read, times=2, after=10_000, length=length)]
        assert read() == bytes(100_000)
        assert proxy.faults[0].count == 2
    for read in reads[:2]:
        proxy.faults = [Fault(is_read, after=10_000, length=length)]
        with pytest.raises(StorageUnavailableError, match=r"(?i)(reading|downloading) "):
            read()


@pytest.mark.parametrize("length", ["sent", "missing"])
def test_a_part_of_a_download_that_ends_early_leaves_no_hole(
    length: Literal["sent", "missing"],
    proxy: FaultyProxy,
    objects: ObjectStore,
    tmp_path: Path,
) -> None:
    content = b"\x01" * (17 << 20)
    objects.client.put_object(Bucket=objects.bucket, Key=KEY, Body=content)
    proxy.faults = [
        Fault(
            lambda request: request.range.startswith("bytes=8388608"),
            times=1,
            after=10_000,
            length=length,
        )
    ]
    object_store().download(KEY, tmp_path / "it")
    assert proxy.faults[0].count == 1
    assert (tmp_path / "it").read_bytes() == content


def test_a_range_that_is_shorter_than_requested_is_refused(proxy: FaultyProxy) -> None:
    store = object_store()
    head = store.head(KEY)
    assert head
    proxy.faults = [Fault(is_read, after=10_000, length="sent")]
    with pytest.raises(StorageUnavailableError, match="a range that was not requested"):
        store.part(head, 0, 100_000)


@pytest.mark.parametrize(
    ("code", "status", "remedy"),
    [
        ("InvalidObjectState", 403, "restore it"),
        ("AccessDenied", 403, "kms:Decrypt"),
        ("KMS.DisabledException", 400, "KMS key is disabled"),
        ("KMS.KMSInvalidStateException", 400, "KMS key is disabled"),
    ],
)
def test_a_permanent_s3_error_is_not_retried(
    code: str, status: int, remedy: str, proxy: FaultyProxy, tmp_path: Path
) -> None:
    store = object_store()
    head = store.head(KEY)
    assert head
    body = f"<Error><Code>{code}</Code><Message>refused</Message></Error>".encode()
    proxy.faults = [Fault(is_read, status=status, body=body)]
    reads: list[Callable[[], object]] = [
        lambda: store.data(KEY, 200_000),
        lambda: store.part(head, 0, 10),
        lambda: store.download(KEY, tmp_path / "it"),
    ]
    for read in reads:
        with pytest.raises(StorageRefusedError, match=remedy) as raised:
            read()
        assert isinstance(raised.value, TerminalError)
        assert Failure.of(raised.value).code == "STORAGE_ERROR"
    assert proxy.faults[0].count == len(reads)
    proxy.faults = [Fault(lambda request: request.method == "HEAD", status=403, body=b"")]
    with pytest.raises(StorageRefusedError, match="Requester Pays"):
        store.head(KEY)


def test_an_object_with_a_key_of_its_owner_is_not_retried(proxy: FaultyProxy) -> None:
    """S3's response to HEAD has no body, so that only its status is known."""
    message = (
        "The object was stored using a form of Server Side Encryption. The correct parameters must "
        "be provided to retrieve the object."
    )
    body = f"<Error><Code>InvalidRequest</Code><Message>{message}</Message></Error>".encode()
    proxy.faults = [
        Fault(lambda request: request.method == "HEAD", status=400, body=b""),
        Fault(is_read, status=400, body=body),
    ]
    with pytest.raises(StorageRefusedError, match=r"\(SSE-C\): store it without"):
        object_store().head(KEY)
    with pytest.raises(StorageRefusedError, match=r"\(SSE-C\)"):
        object_store().data(KEY, 200_000)
    # Another error of the same status may pass.
    expired = b"<Error><Code>ExpiredToken</Code><Message>expired</Message></Error>"
    proxy.faults[1] = Fault(is_read, status=400, body=expired)
    with pytest.raises(StorageUnavailableError, match="ExpiredToken"):
        object_store().head(KEY)
    proxy.faults.pop()
    with pytest.raises(StorageUnavailableError, match="400"):
        object_store().head(KEY)


def test_an_upload_that_s3_denies_is_not_retried(proxy: FaultyProxy, tmp_path: Path) -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>refused</Message></Error>"
    proxy.faults = [Fault(lambda request: request.method == "PUT", status=403, body=body)]
    (tmp_path / "it").write_text("a clip")
    with pytest.raises(StorageRefusedError, match="s3:PutObject"):
        object_store().upload(tmp_path / "it", KEY, {})
    with pytest.raises(StorageRefusedError, match="kms:GenerateDataKey"):
        object_store().put_text("a page", KEY, {}, "text/html")


@pytest.mark.parametrize("code", ["KMS.ThrottlingException", "KMS.KeyUnavailableException"])
def test_an_error_of_kms_that_passes_is_retried(code: str, proxy: FaultyProxy) -> None:
    body = f"<Error><Code>{code}</Code><Message>later</Message></Error>".encode()
    proxy.faults = [Fault(is_read, status=400, body=body)]
    with pytest.raises(StorageUnavailableError, match=code):
        object_store().data(KEY, 200_000)


def test_a_small_object_that_is_always_truncated_is_a_storage_error(proxy: FaultyProxy) -> None:
    proxy.faults = [Fault(is_read, after=10_000)]
    with pytest.raises(StorageUnavailableError, match=f"(?i)reading {KEY}") as raised:
        object_store().data(KEY, 200_000)
    assert Failure.of(raised.value).code == "STORAGE_ERROR"


def test_an_object_above_the_limit_is_not_read(proxy: FaultyProxy) -> None:
    with pytest.raises(InvalidInputError, match="larger than 1000 bytes"):
        object_store().data(KEY, 1000)


@pytest.mark.usefixtures("proxy")
def test_a_tls_error_in_a_small_object_is_a_storage_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """urllib3 raises this error for an unreadable TLS record, and the SDK does not convert it."""

    def broken(*_: object, **__: object) -> bytes:
        raise SSLError("DECRYPTION_FAILED_OR_BAD_RECORD_MAC")

    monkeypatch.setattr(HTTPResponse, "read", broken)
    with pytest.raises(StorageUnavailableError, match=f"reading {KEY} failed: DECRYPTION_FAILED"):
        object_store().data(KEY, 200_000)


def test_a_large_object_is_downloaded_in_parts_at_the_same_time(
    proxy: FaultyProxy, objects: ObjectStore, tmp_path: Path
) -> None:
    content = randbytes(40 << 20)
    objects.client.put_object(Bucket=objects.bucket, Key=KEY, Body=content)
    store = object_store()
    head = store.head(KEY)
    assert head
    both = Barrier(2, timeout=20)

    def is_second_or_third(request: Request) -> bool:
        # Each of the two requests waits until the other one has arrived.
        if is_read(request) and request.range.startswith(("bytes=8388608-", "bytes=16777216-")):
            both.wait()
        return False

    proxy.faults = [
        Fault(is_second_or_third),
        Fault(lambda request: is_read(request) and "-25165823" in request.range, times=1, after=9),
    ]
    proxy.requests.clear()
    store.download(head, tmp_path / "it")
    assert (tmp_path / "it").read_bytes() == content
    assert proxy.faults[1].count == 1
    # The head is known, so it is not requested again.
    assert {request.method for request in proxy.requests} == {"GET"}


def test_an_object_that_is_replaced_during_a_download_is_an_error(
    proxy: FaultyProxy, objects: ObjectStore, tmp_path: Path
) -> None:
    store = object_store()
    head = store.head(KEY)
    assert head
    objects.client.put_object(Bucket=objects.bucket, Key=KEY, Body=b"\x01" * 100_000)
    with pytest.raises(SourceChangedError, match="was replaced while it was read"):
        store.download(head, tmp_path / "it")


@pytest.mark.usefixtures("proxy")
def test_an_empty_object_is_downloaded(objects: ObjectStore, tmp_path: Path) -> None:
    objects.client.put_object(Bucket=objects.bucket, Key=KEY, Body=b"")
    object_store().download(KEY, tmp_path / "it")
    assert (tmp_path / "it").read_bytes() == b""
