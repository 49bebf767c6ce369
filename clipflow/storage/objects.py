"""Media objects in the bucket."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from clipflow.domain.errors import InvalidInput, SourceNotFound
from clipflow.settings import settings
from clipflow.storage.aws import error_code, s3_client, storage_errors

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

# Long enough for the slowest read of one window, short enough to be useless when it leaks.
_URL_SECONDS = 3600
_MISSING = ("404", "NoSuchKey", "NotFound")


@dataclass(frozen=True)
class ObjectHead:
    """What S3 says of an object without its bytes; `etag` keeps no quotes."""

    key: str
    etag: str
    size: int
    metadata: dict[str, str]


@dataclass(frozen=True)
class ObjectStore:
    """One bucket. Every method raises StorageUnavailable where S3 does not answer as it should."""

    client: "S3Client"
    bucket: str

    def head(self, key: str) -> ObjectHead | None:
        """The object's head, or None where there is no such object."""
        with storage_errors(f"looking up {key}"):
            try:
                answer = self.client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if error_code(error) in _MISSING:
                    return None
                raise
        return ObjectHead(
            key, answer["ETag"].strip('"'), answer["ContentLength"], answer["Metadata"]
        )

    def url(self, key: str) -> str:
        """A presigned address from which the object can be read for an hour."""
        return self.client.generate_presigned_url(
            "get_object",
            Params={"Bucket": self.bucket, "Key": key},
            ExpiresIn=_URL_SECONDS,
        )

    def data(self, key: str, limit: int) -> bytes:
        """A small object. Raises SourceNotFound without it, InvalidInput above `limit` bytes."""
        with storage_errors(f"reading {key}"):
            try:
                body = self.client.get_object(Bucket=self.bucket, Key=key)["Body"]
            except ClientError as error:
                if error_code(error) in _MISSING:
                    raise SourceNotFound(f"There is no object {key}.") from None
                raise
            data = body.read(limit + 1)
        if len(data) > limit:
            raise InvalidInput(f"{key} is larger than {limit} bytes.")
        return data

    def text(self, key: str, limit: int) -> str:
        """A small text object. Raises what `data` raises, InvalidInput where it is not UTF-8."""
        try:
            return self.data(key, limit).decode()
        except UnicodeDecodeError:
            raise InvalidInput(f"{key} is not UTF-8 text.") from None

    def download(self, key: str, path: Path) -> None:
        """The object's bytes into `path`, streamed."""
        with storage_errors(f"downloading {key}"):
            self.client.download_file(self.bucket, key, str(path), Config=_TRANSFER)

    def upload(
        self, path: Path, key: str, metadata: dict[str, str], content_type: str = "video/mp4"
    ) -> None:
        """The file at `path` under `key`: streamed, and there whole or not at all."""
        extra = {"ContentType": content_type, "Metadata": metadata}
        with storage_errors(f"uploading {key}"):
            self.client.upload_file(str(path), self.bucket, key, ExtraArgs=extra, Config=_TRANSFER)

    def put_text(self, text: str, key: str, metadata: dict[str, str], content_type: str) -> None:
        """A small text under `key`."""
        with storage_errors(f"uploading {key}"):
            self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=text.encode(),
                ContentType=f"{content_type}; charset=utf-8",
                Metadata=metadata,
            )


_TRANSFER = TransferConfig(
    multipart_threshold=16 << 20, multipart_chunksize=16 << 20, max_concurrency=2
)


def object_store() -> ObjectStore:
    """The bucket of the clips."""
    return ObjectStore(s3_client(), settings().bucket_name)


def shorts_store() -> ObjectStore:
    """The bucket of the long videos and their shorts."""
    return ObjectStore(s3_client(), settings().shorts_bucket_name or settings().bucket_name)
