"""The boto3 clients of a process, and the conversion of their errors."""

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

# The SDK makes three attempts, with jitter, before the task is retried.
_CONFIG = Config(
    retries={"mode": "standard"},
    connect_timeout=5,
    read_timeout=30,
    max_pool_connections=32,
)
# The base error of each layer of the SDK. While a body is read, urllib3's TLS errors are raised.
_SDK_ERRORS = (ClientError, BotoCoreError, Boto3Error, HTTPError)


def load_service_models() -> None:
    """Loads the SDK's descriptions of the services that clipflow uses: 0.2 s of a core.

    The default session keeps them, also in a process that is forked later. No credentials are read
    and no connection is opened: the clients made here are discarded.
    """
    region, none = "us-east-1", "none"
    for service in ("s3", "events"):
        boto3.client(
            service, region_name=region, aws_access_key_id=none, aws_secret_access_key=none
        )
    boto3.resource(
        "dynamodb", region_name=region, aws_access_key_id=none, aws_secret_access_key=none
    )


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
    """Converts the SDK's errors to StorageUnavailableError, or to StorageRefusedError if a retry
    cannot help. `doing` begins the message, such as `reading KEY`."""
    try:
        yield
    except _SDK_ERRORS as error:
        # The error of an upload by boto3 was raised while S3's own was handled.
        answer = error if isinstance(error, ClientError) else error.__context__
        if isinstance(answer, ClientError) and (remedy := _refusal_remedy(answer)):
            raise StorageRefusedError(f"{doing} failed: {error}.", remedy) from error
        raise StorageUnavailableError(
            f"{doing} failed: {error}.", "It is retried; check the service and the permissions."
        ) from error


# S3's codes for an object in Glacier or Deep Archive, and for denied access. Requester Pays has no
# code of its own, and a response to HEAD has no body, so only its status is known.
_ARCHIVED = ("InvalidObjectState",)
_DENIED = ("AccessDenied", "AllAccessDisabled", "AccountProblem")
_DENIED_HEAD = ("403", "Forbidden")
# Parts of KMS's codes for what passes by itself.
_KMS_PASSING = ("Throttling", "Internal", "Unavailable", "Timeout")
_READING = ("Get", "Head", "List")
# S3's code and message for an object that is encrypted with a customer-provided key (SSE-C).
_INVALID, _CUSTOMER_KEY = "InvalidRequest", "stored using a form of Server Side Encryption"


def _refusal_remedy(error: ClientError) -> str:
    """The remedy for an error that a retry cannot resolve; empty for other errors."""
    code, is_head = error_code(error), error.operation_name.startswith("Head")
    if code in _ARCHIVED:
        return "The object is archived: restore it (S3 RestoreObject) and start the run again."
    if code.startswith("KMS.") and not any(part in code for part in _KMS_PASSING):
        return (
            "The object's KMS key is disabled, deleted or denied: fix it and start the run again."
        )
    if code == _INVALID and _CUSTOMER_KEY in error.response["Error"].get("Message", ""):
        return (
            "The object is encrypted with a key that only its owner has (SSE-C): store it without, "
            "or with a KMS key, and start the run again."
        )
    if code in _DENIED and not error.operation_name.startswith(_READING):
        return (
            "Grant the role s3:PutObject on the bucket, and kms:GenerateDataKey if its objects are "
            "encrypted with a KMS key. Then start the run again."
        )
    if code in _DENIED or (is_head and code in _DENIED_HEAD):
        return (
            "Grant the role s3:GetObject and s3:ListBucket on the bucket, and kms:Decrypt if its "
            "objects are encrypted with a KMS key. Copy the object out of a Requester Pays "
            "bucket. Then start the run again."
        )
    return ""
