"""Media objects in the bucket."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from urllib3.exceptions import HTTPError

from clipflow.domain.errors import (
    DeadlineExceededError,
    InvalidInputError,
    SourceChangedError,
    SourceNotFoundError,
    StorageUnavailableError,
)
from clipflow.settings import Settings, settings
from clipflow.storage.aws import error_code, s3_client, storage_errors

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3.client import S3Client

# Longer than the slowest read of one window, and short enough that a leaked URL soon expires.
_URL_SECONDS = 3600
_MISSING = ("404", "NoSuchKey", "NotFound")
_WITHOUT_REASON = "400"
_REPLACED = ("412", "PreconditionFailed")
# Two conditional writes at the same time.
_RACED = ("409", "ConditionalRequestConflict")
_TIMEOUTS = (ReadTimeoutError, ConnectTimeoutError)
# Errors while a body is read, which the SDK does not retry. TLS errors are urllib3's.
_INTERRUPTED = (
    ReadTimeoutError,
    ResponseStreamingError,
    IncompleteReadError,
    FlexibleChecksumError,
    HTTPError,
)
_MAX_INTERRUPTIONS = 4
_CHUNK_BYTES = 1 << 18
# Bytes of an object that are requested at a time while it is downloaded, and the most requests at
# the same time.
_PART_BYTES, _MAX_PARTS = 8 << 20, 8


@dataclass(frozen=True)
class ObjectHead:
    """The properties of an object, without its bytes; `etag` has no quotes."""

    key: str
    etag: str
    size: int
    metadata: dict[str, str]


@dataclass(frozen=True)
class ObjectStore:
    """One bucket. Every method raises StorageUnavailableError or StorageRefusedError if S3
    fails."""

    client: "S3Client"
    bucket: str

    def head(self, key: str) -> ObjectHead | None:
        """The object's head, or None if there is no such object."""
        with storage_errors(f"looking up {key}"):
            try:
                answer = self.client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if error_code(error) in _MISSING:
                    return None
                if error_code(error) == _WITHOUT_REASON:
                    # Only the response to GET has a body, with the reason.
                    self.client.get_object(Bucket=self.bucket, Key=key, Range="bytes=0-0")
                raise
        return ObjectHead(
            key, answer["ETag"].strip('"'), answer["ContentLength"], answer["Metadata"]
        )

    def etags(self, prefix: str) -> dict[str, str]:
        """The ETag, without quotes, of each object whose key begins with `prefix`."""
        pages = self.client.get_paginator("list_objects_v2")
        with storage_errors(f"listing {prefix}"):
            return {
                found["Key"]: found["ETag"].strip('"')
                for page in pages.paginate(Bucket=self.bucket, Prefix=prefix)
                for found in page.get("Contents", [])
            }

    def url(self, key: str) -> str:
        """A presigned address from which the object can be read for an hour."""
        return self.client.generate_presigned_url(
            "get_object",
            Params={"Bucket": self.bucket, "Key": key},
            ExpiresIn=_URL_SECONDS,
        )

    def data(self, key: str, limit: int) -> bytes:
        """The bytes of a small object.

        A read is retried a few times if the body is shorter than the response's `Content-Length`,
        or if that differs from the size in the response to HEAD. A proxy that loses its connection
        to S3 may send what it has as a complete response, and a response may have no length.

        Raises SourceNotFoundError without the object, InvalidInputError above `limit` bytes.
        """
        for attempt in range(1, _MAX_INTERRUPTIONS + 1):
            with storage_errors(f"reading {key}"):
                try:
                    data, announced = self._data_once(key, limit)
                except _INTERRUPTED:
                    if attempt == _MAX_INTERRUPTIONS:
                        raise
                    continue
            if max(announced, len(data)) > limit:
                raise InvalidInputError(f"{key} is larger than {limit} bytes.")
            head = self.head(key)
            if head and len(data) == announced == head.size:
                return data
        raise StorageUnavailableError(
            f"Reading {key}: S3 sent {len(data)} of {head.size if head else 0} bytes, "
            f"{attempt} times."
        )

    def _data_once(self, key: str, limit: int) -> tuple[bytes, int]:
        """The body of one response, and the length that S3 announced for it.

        The body of an object of more than `limit` bytes is not read.
        """
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error_code(error) in _MISSING:
                raise SourceNotFoundError(f"There is no object {key}.") from None
            raise
        with closing(answer["Body"]) as body:
            length = answer.get("ContentLength")
            # Botocore checks the length only if a body is read without a limit.
            data = body.read(limit + 1) if length is None or length <= limit else b""
            return data, len(data) if length is None else length

    def text(self, key: str, limit: int) -> str:
        """The text of a small object. Raises the errors of `data`, and InvalidInputError if it is
        not UTF-8."""
        try:
            return self.data(key, limit).decode()
        except UnicodeDecodeError:
            raise InvalidInputError(f"{key} is not UTF-8 text.") from None

    def part(self, head: ObjectHead, start: int, end: int, doing: str = "reading") -> bytes:
        """The bytes from `start` to before `end` of exactly the object that `head` describes.

        An interrupted read is resumed at the same byte, a few times. Raises SourceNotFoundError;
        SourceChangedError if the object was replaced; DeadlineExceededError if S3 does not respond.
        """
        return b"".join(self._chunks(head, start, end, doing))

    def _chunks(self, head: ObjectHead, start: int, end: int, doing: str) -> Iterator[bytes]:
        """The bytes of `part`, in order, without more than a chunk of them in memory."""
        count, interruptions = 0, 0
        with storage_errors(f"{doing} {head.key}"), _source_errors(head.key):
            while count < end - start:
                try:
                    with closing(self._body(head, start + count, end, doing)) as body:
                        for chunk in body.iter_chunks(_CHUNK_BYTES):
                            count += len(chunk)
                            if count <= end - start:
                                yield chunk
                except (*_INTERRUPTED, StorageUnavailableError):
                    interruptions += 1
                    if interruptions == _MAX_INTERRUPTIONS:
                        raise
                else:
                    # A response without a length may end early, or contain the whole object.
                    interruptions += count != end - start
                    if count > end - start or interruptions == _MAX_INTERRUPTIONS:
                        raise StorageUnavailableError(
                            f"{doing} {head.key}: S3 returned {count} of {end - start} bytes."
                        )

    def _body(self, head: ObjectHead, start: int, end: int, doing: str) -> "StreamingBody":
        answer = self.client.get_object(
            Bucket=self.bucket,
            Key=head.key,
            Range=f"bytes={start}-{end - 1}",
            # If the object has been replaced, S3 responds with an error instead of other bytes.
            IfMatch=f'"{head.etag}"',
        )
        # A response without a length is read until it ends; `part` then requests the rest.
        if answer.get("ContentLength", end - start) != end - start:
            answer["Body"].close()
            raise StorageUnavailableError(
                f"{doing} {head.key}: S3 returned a range that was not requested."
            )
        return answer["Body"]

    def download(self, source: str | ObjectHead, path: Path) -> None:
        """Writes the object to the file `path`; several parts of a large one at the same time.

        `source` is its key, or its head if that is known. boto3 would do the same, but it takes a
        part whose body ends early as complete and leaves a hole of zeros in the file. Raises
        SourceNotFoundError, and the errors of `part`.
        """
        head = self.head(source) if isinstance(source, str) else source
        if head is None:
            raise SourceNotFoundError(f"There is no object {source}.")
        starts = range(0, head.size, _PART_BYTES)
        with path.open("wb") as file, ThreadPoolExecutor(_MAX_PARTS) as pool:
            parts = [pool.submit(self._write_part, head, start, file.fileno()) for start in starts]
            try:
                for part in parts:
                    part.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _write_part(self, head: ObjectHead, start: int, file: int) -> None:
        """Writes the bytes from `start` on to their place in the open file `file`."""
        end = min(start + _PART_BYTES, head.size)
        for chunk in self._chunks(head, start, end, "downloading"):
            rest = memoryview(chunk)
            while rest:
                count = os.pwrite(file, rest, start)
                start, rest = start + count, rest[count:]

    def upload(
        self,
        path: Path,
        key: str,
        metadata: dict[str, str],
        content_type: str = "video/mp4",
        tags: str = "",
    ) -> None:
        """Streams the file at `path` to `key`; the object appears complete or not at all.

        `tags` has the form of a URL query, `name=value&…`; the bucket's lifecycle rules use it.
        """
        extra: dict[str, Any] = {"ContentType": content_type, "Metadata": metadata}
        if tags:
            extra["Tagging"] = tags
        with storage_errors(f"uploading {key}"):
            self.client.upload_file(str(path), self.bucket, key, ExtraArgs=extra, Config=_TRANSFER)

    def put_text(self, text: str, key: str, metadata: dict[str, str], content_type: str) -> None:
        """Stores a small text under `key`."""
        with storage_errors(f"uploading {key}"):
            self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=text.encode(),
                ContentType=f"{content_type}; charset=utf-8",
                Metadata=metadata,
            )

    def replace_text(self, text: str, key: str, content_type: str, etag: str | None) -> str | None:
        """A small text under `key`, if the object there still has this ETag; None: if there is no
        object. Returns the new ETag, or None if another writer was faster."""
        condition: dict[str, Any] = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        with storage_errors(f"uploading {key}"):
            try:
                answer = self.client.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=text.encode(),
                    ContentType=f"{content_type}; charset=utf-8",
                    **condition,
                )
            except ClientError as error:
                if error_code(error) in (*_REPLACED, *_MISSING, *_RACED):
                    return None
                raise
        return answer["ETag"].strip('"')

    def delete(self, key: str) -> None:
        """Deletes the object if it exists."""
        with storage_errors(f"deleting {key}"):
            self.client.delete_object(Bucket=self.bucket, Key=key)


@contextmanager
def _source_errors(name: str) -> Iterator[None]:
    """Converts S3's errors about a source to errors that describe its problem."""
    try:
        yield
    except ClientError as error:
        if error_code(error) in _MISSING:
            raise SourceNotFoundError(f"{name} does not exist.") from None
        if error_code(error) in _REPLACED:
            raise SourceChangedError(
                f"{name} was replaced while it was read.", "Start the run again."
            ) from None
        raise
    except _TIMEOUTS:
        raise DeadlineExceededError(f"Reading {name}: S3 did not respond in time.") from None


_TRANSFER = TransferConfig(
    multipart_threshold=16 << 20, multipart_chunksize=16 << 20, max_concurrency=2
)


def object_store() -> ObjectStore:
    """The store of the bucket with the clips."""
    return ObjectStore(s3_client(), settings().bucket_name)


def shorts_store() -> ObjectStore:
    """The store of the bucket with the long videos and their shorts."""
    return ObjectStore(s3_client(), settings().shorts_bucket_name or settings().bucket_name)


def link(objects: ObjectStore, key: str) -> str:
    """A URL that opens the object in a browser. It contains no secret and does not expire."""
    return public_url(settings(), objects.bucket, key)


def public_url(settings: Settings, bucket: str, key: str) -> str:
    """The object's URL under CLIPFLOW_PUBLIC_URL if that is set; else under AWS_ENDPOINT_URL, where
    a local S3 needs no credentials; else in the AWS console, which requires a sign-in."""
    if settings.public_url:
        return f"{settings.public_url.replace('{bucket}', bucket).rstrip('/')}/{quote(key)}"
    if settings.aws_endpoint_url:
        return f"{settings.aws_endpoint_url.rstrip('/')}/{bucket}/{quote(key)}"
    region = settings.aws_region
    console = f"https://{region}.console.aws.amazon.com/s3/object"
    return f"{console}/{bucket}?region={region}&prefix={quote(key, safe='')}"
