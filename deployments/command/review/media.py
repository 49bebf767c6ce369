"""Videos of the bucket, passed on by range, so that the browser needs no credentials."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from clipflow.storage.aws import error_code, storage_errors
from clipflow.storage.objects import ObjectStore

if TYPE_CHECKING:
    from botocore.response import StreamingBody

_RANGE = re.compile(r"bytes=\d{0,15}-\d{0,15}", re.ASCII)
_PIECE_BYTES = 1 << 18
_MISSING, _UNSATISFIABLE = ("404", "NoSuchKey", "NotFound"), ("416", "InvalidRange")


def media_response(objects: ObjectStore, key: str, requested: str | None) -> Response:
    """The object, or the range of it that the header `Range` requests, as a stream.

    Raises StorageUnavailableError if S3 does not answer.
    """
    arguments: dict[str, Any] = {"Bucket": objects.bucket, "Key": key}
    if requested and _RANGE.fullmatch(requested):
        arguments["Range"] = requested
    with storage_errors(f"reading {key}"):
        try:
            answer = objects.client.get_object(**arguments)
        except ClientError as error:
            if error_code(error) in _MISSING:
                return PlainTextResponse("There is no such video.", 404)
            if error_code(error) in _UNSATISFIABLE:
                return PlainTextResponse("There is no such range.", 416)
            raise
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(answer["ContentLength"])}
    if content_range := answer.get("ContentRange"):
        headers["Content-Range"] = content_range
    return StreamingResponse(
        _pieces(answer["Body"]), 206 if content_range else 200, headers, "video/mp4"
    )


def _pieces(body: "StreamingBody") -> Iterator[bytes]:
    try:
        yield from body.iter_chunks(_PIECE_BYTES)
    finally:
        body.close()
