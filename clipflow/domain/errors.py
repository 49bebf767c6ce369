"""Every error that clipflow raises, as one tree.

    ClipflowError                     code, message, remedy
    ├── TerminalError                 a retry cannot help
    │   ├── InvalidInputError         VALIDATION_ERROR  the event, record or segment is not valid
    │   ├── SourceNotFoundError       SOURCE_NOT_FOUND  the source does not exist
    │   ├── SourceChangedError        STORAGE_ERROR     the object was replaced during the work
    │   ├── EditConflictError         STORAGE_ERROR     somebody else has changed the edits
    │   ├── StorageRefusedError       STORAGE_ERROR     S3 refuses access: archived or denied
    │   ├── MediaRefusedError         FFMPEG_ERROR      the media cannot be read or cut
    │   ├── OwnershipLostError        INTERNAL_ERROR    another run owns the record now
    │   ├── NotInstalledError         INTERNAL_ERROR    an extra or a model is not installed
    │   ├── StoppedError              CANCELLED         a part of the work was cancelled
    │   ├── NoMomentsError            VALIDATION_ERROR  the video has nothing to make a short of
    │   └── ModelRefusedError         INTERNAL_ERROR    a language model refuses the request
    └── TransientError                a retry of the same step may succeed
        ├── StorageUnavailableError   STORAGE_ERROR     S3 or DynamoDB does not respond correctly
        ├── MediaInterruptedError     FFMPEG_ERROR      ffmpeg was killed or its output is partial
        ├── DiskFullError             STORAGE_ERROR     the disk has too little space
        ├── MachineLostError          CRASHED           a machine with a part of the work was lost
        ├── ModelUnavailableError     INTERNAL_ERROR    a language model gave no usable response
        └── DeadlineExceededError     TIMEOUT           a process or a read exceeded its deadline

A task is retried unless its error is a `TerminalError`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

MESSAGE_LIMIT_BYTES = 2048


class FailureCode(StrEnum):
    """The values of `processingError.code` in a record."""

    VALIDATION_ERROR = "VALIDATION_ERROR"
    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    FFMPEG_ERROR = "FFMPEG_ERROR"
    STORAGE_ERROR = "STORAGE_ERROR"
    TIMEOUT = "TIMEOUT"
    CRASHED = "CRASHED"
    CANCELLED = "CANCELLED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class ClipflowError(Exception):
    """The base of all errors: `message` has the failure and its input, `remedy` what to do."""

    code: ClassVar[FailureCode] = FailureCode.INTERNAL_ERROR

    def __init__(self, message: str, remedy: str = "") -> None:
        # Errors are logged and stored in records, so secrets are removed here.
        message, remedy = redact(message), redact(remedy)
        # Both go to Exception.args, so the error survives pickling between processes.
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return " ".join(part for part in (self.message, self.remedy) if part)


class TerminalError(ClipflowError):
    """An error that a retry cannot resolve."""


class TransientError(ClipflowError):
    """An error that a retry of the same step may resolve."""


class InvalidInputError(TerminalError):
    code = FailureCode.VALIDATION_ERROR


class SourceNotFoundError(TerminalError):
    code = FailureCode.SOURCE_NOT_FOUND


class SourceChangedError(TerminalError):
    code = FailureCode.STORAGE_ERROR


class EditConflictError(TerminalError):
    code = FailureCode.STORAGE_ERROR


class StorageRefusedError(TerminalError):
    code = FailureCode.STORAGE_ERROR


class MediaRefusedError(TerminalError):
    code = FailureCode.FFMPEG_ERROR


class OwnershipLostError(TerminalError):
    code = FailureCode.INTERNAL_ERROR


class NotInstalledError(TerminalError):
    code = FailureCode.INTERNAL_ERROR


class StoppedError(TerminalError):
    code = FailureCode.CANCELLED


class NoMomentsError(TerminalError):
    code = FailureCode.VALIDATION_ERROR


class ModelRefusedError(TerminalError):
    code = FailureCode.INTERNAL_ERROR


class StorageUnavailableError(TransientError):
    code = FailureCode.STORAGE_ERROR


class MediaInterruptedError(TransientError):
    code = FailureCode.FFMPEG_ERROR


class DiskFullError(TransientError):
    code = FailureCode.STORAGE_ERROR


class MachineLostError(TransientError):
    code = FailureCode.CRASHED


class ModelUnavailableError(TransientError):
    code = FailureCode.INTERNAL_ERROR


class DeadlineExceededError(TransientError):
    code = FailureCode.TIMEOUT


@dataclass(frozen=True)
class Failure:
    """The failure of a run, as it is stored in a record."""

    code: FailureCode
    message: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """The failure of any exception, its message redacted and bounded."""
        if isinstance(error, ClipflowError):
            return cls(error.code, bounded_message(str(error)))
        text = f"{type(error).__name__}: {error}. This is a defect in clipflow: see the run's log."
        return cls(FailureCode.INTERNAL_ERROR, bounded_message(text))


def bounded_message(text: str) -> str:
    """`text` redacted, and shortened in its middle to `MESSAGE_LIMIT_BYTES` of UTF-8."""
    encoded = redact(text).encode()
    if len(encoded) <= MESSAGE_LIMIT_BYTES:
        return encoded.decode()
    half = MESSAGE_LIMIT_BYTES // 2 - 8
    head, tail = (
        encoded[:half].decode(errors="ignore"),
        encoded[-half:].decode(errors="ignore"),
    )
    return f"{head} … {tail}"


# The query of a URL, and its user name and password.
_URL_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]+", re.IGNORECASE)
_URL_USER = re.compile(r"(https?://)[^\s/@'\"]+@", re.IGNORECASE)
# Some messages contain only the path and query of a URL, or a header or a variable.
_SIGNED_QUERY = re.compile(r"\?[^\s'\"]*X-Amz-[^\s'\"]*", re.IGNORECASE)
_NAMED_SECRET = re.compile(
    r"((?:X-Amz-(?:Signature|Credential|Security-Token)|AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN"
    r"|authorization|(?:[a-z]+_)?api_key|HF_TOKEN)['\"]?\s*[=:]\s*)"
    r"(?:'[^']*'|\"[^\"]*\"|(?:(?:Bearer|Basic|AWS4-HMAC-SHA256)\s+)?[^\s&'\"]+)",
    re.IGNORECASE,
)
# The id of an AWS access key.
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")


def redact(text: str) -> str:
    """`text` without API keys, passwords and the queries of URLs.

    The query of a presigned URL is a credential.
    """
    for secret, replacement in (
        (_URL_QUERY, r"\1?…"),
        (_URL_USER, r"\1…@"),
        (_SIGNED_QUERY, "?…"),
        (_NAMED_SECRET, r"\1…"),
        (_KEY_ID, "…"),
    ):
        text = secret.sub(replacement, text)
    return text
