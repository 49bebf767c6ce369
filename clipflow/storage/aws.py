"""boto3 clients, made once a process, and what their errors mean."""

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
# Of each of its layers. In the middle of a body, errors of TLS come through as urllib3 has them.
_SDK_ERRORS = (ClientError, BotoCoreError, Boto3Error, HTTPError)


@cache
def s3_client() -> "S3Client":
    # A custom endpoint rarely has a name for each bucket, so the bucket goes into the path.
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
    """What the SDK raises while `doing` something becomes StorageUnavailableError, cause kept."""
    try:
        yield
    except _SDK_ERRORS as error:
        raise StorageUnavailableError(
            f"{doing} failed: {error}.",
            "It is tried again; check the service and the permissions.",
        ) from error
