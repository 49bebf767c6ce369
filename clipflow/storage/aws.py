"""boto3 clients, one of each a process, and the translation of their errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from clipflow.domain.errors import StorageUnavailableError
from clipflow.settings import settings

if TYPE_CHECKING:
    from types_boto3_dynamodb.service_resource import Table
    from types_boto3_s3.client import S3Client

# The SDK tries three times, with jitter, before a task's own retry begins.
_CONFIG = Config(
    retries={"mode": "standard"},
    connect_timeout=5,
    read_timeout=30,
    max_pool_connections=32,
)
# One of each layer of the SDK. While a body is read, TLS errors come as urllib3 raises them.
_SDK_ERRORS = (ClientError, BotoCoreError, Boto3Error, HTTPError)


@cache
def s3_client() -> "S3Client":
    # A custom endpoint rarely resolves a host name for each bucket, so the bucket is in the path.
    addressing = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if settings().aws_endpoint_url else "auto"},
    )
    return boto3.client(
        "s3",
        region_name=settings().aws_region,
        endpoint_url=settings().aws_endpoint_url,
        config=_CONFIG.merge(addressing),
    )


@cache
def records_table() -> "Table":
    resource = boto3.resource(
        "dynamodb",
        region_name=settings().aws_region,
        endpoint_url=settings().aws_endpoint_url,
        config=_CONFIG,
    )
    return resource.Table(settings().table_name)


def error_code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn what the SDK raises while `doing` something into a StorageUnavailableError with its
    cause."""
    try:
        yield
    except _SDK_ERRORS as error:
        raise StorageUnavailableError(
            f"{doing} failed: {error}.",
            "It is tried again; check the service and the permissions.",
        ) from error
