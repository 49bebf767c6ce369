"""Addresses of objects for a person's browser. None of them holds a secret, and none expires."""

from urllib.parse import quote

from clipflow.settings import Settings, settings
from clipflow.storage.objects import ObjectStore


def link(objects: ObjectStore, key: str) -> str:
    """Where a person opens the object `key`."""
    return address(settings(), objects.bucket, key)


def address(known: Settings, bucket: str, key: str) -> str:
    """Under CLIPFLOW_PUBLIC_URL where that is set; else at the S3 of AWS_ENDPOINT_URL, which a
    local one answers without credentials; else in the console of AWS, which asks to sign in.
    """
    if known.public_url:
        return f"{known.public_url.replace('{bucket}', bucket).rstrip('/')}/{quote(key)}"
    if known.aws_endpoint_url:
        return f"{known.aws_endpoint_url.rstrip('/')}/{bucket}/{quote(key)}"
    region = known.aws_region
    console = f"https://{region}.console.aws.amazon.com/s3/object"
    return f"{console}/{bucket}?region={region}&prefix={quote(key, safe='')}"
