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

from clipflow.domain.errors import StorageRefusedError, StorageUnavailableError
from clipflow.settings import settings

if TYPE_CHECKING:
    from types_boto3_dynamodb.service_resource import Table
    from types_boto3_events.client import EventBridgeClient
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
def events_client() -> "EventBridgeClient":
    return boto3.client(
        "events",
        region_name=settings().aws_region,
        endpoint_url=settings().aws_endpoint_url,
        config=_CONFIG,
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
    cause, or a StorageRefusedError if S3 will refuse it again."""
    try:
        yield
    except ClientError as error:
        if remedy := _refusal_remedy(error):
            raise StorageRefusedError(f"{doing} failed: {error}.", remedy) from error
        raise _unavailable(doing, error) from error
    except _SDK_ERRORS as error:
        raise _unavailable(doing, error) from error


def _unavailable(doing: str, error: Exception) -> StorageUnavailableError:
    return StorageUnavailableError(
        f"{doing} failed: {error}.", "It is tried again; check the service and the permissions."
    )


# S3's codes for an object in Glacier or Deep Archive, and for one that is refused. Requester Pays
# has no code of its own, and an answer to HEAD, which has no body, only its status.
_ARCHIVED = ("InvalidObjectState",)
_DENIED = ("AccessDenied", "AllAccessDisabled", "AccountProblem")
_DENIED_HEAD = ("403", "Forbidden")


def _refusal_remedy(error: ClientError) -> str:
    """What a person can do about an error that would come again; empty for others."""
    code, is_head = error_code(error), error.operation_name.startswith("Head")
    if code in _ARCHIVED:
        return "The object is archived: restore it (S3 RestoreObject) and start again."
    if code.startswith("KMS."):
        return "The object's KMS key is disabled, deleted or refused: correct that, start again."
    if code in _DENIED or (is_head and code in _DENIED_HEAD):
        return (
            "Permit the role s3:GetObject and s3:ListBucket on the bucket, and kms:Decrypt where "
            "its objects are encrypted with a KMS key. Copy the object out of a Requester Pays "
            "bucket. Then start again."
        )
    return ""
