"""Every way in which clipflow fails, as one tree.

    ClipflowError               code, message, remedy
    ├── Terminal                trying again cannot help
    │   ├── InvalidInput        VALIDATION_ERROR   the event, record or segment cannot be meant
    │   ├── SourceNotFound      SOURCE_NOT_FOUND   no object to cut from
    │   ├── SourceChanged       STORAGE_ERROR      the object was replaced while it was worked on
    │   ├── MediaRefused        FFMPEG_ERROR       the media itself cannot be read or cut
    │   ├── OwnershipLost       INTERNAL_ERROR     another run owns the record now
    │   ├── NotInstalled        INTERNAL_ERROR     an extra or a model is not on this machine
    │   ├── Stopped             CANCELLED          somebody cancelled a part of the work
    │   ├── NoMoments           VALIDATION_ERROR   nothing in the video to make a short of
    │   └── ModelRefused        INTERNAL_ERROR     a language model will not answer, whoever asks
    └── Transient               the same step may succeed later
        ├── StorageUnavailable  STORAGE_ERROR      S3 or DynamoDB did not answer as it should
        ├── MediaInterrupted    FFMPEG_ERROR       ffmpeg was killed, or its output is not whole
        ├── DiskFull            STORAGE_ERROR      the machine's disk has no room for the work
        ├── MachineLost         CRASHED            the machine that did a part of the work is gone
        ├── ModelUnavailable    INTERNAL_ERROR     a language model did not answer usefully
        └── DeadlineExceeded    TIMEOUT            a process or a read ran past its deadline

A task's retry rule asks one question: is it `Terminal`?
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from clipflow.domain.secrets import without_secrets as without_secrets

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
    """What failed and on which input (`message`), and what a person can do about it (`remedy`)."""

    code: ClassVar[FailureCode] = FailureCode.INTERNAL_ERROR

    def __init__(self, message: str, remedy: str = "") -> None:
        # Whoever shows the error, in a log or in a record, shows no secret.
        message, remedy = without_secrets(message), without_secrets(remedy)
        # Both go to Exception.args, so the error survives pickling between processes.
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return " ".join(part for part in (self.message, self.remedy) if part)


class Terminal(ClipflowError):
    """Trying again cannot help."""


class Transient(ClipflowError):
    """The same step may succeed when it is tried again."""


class InvalidInput(Terminal):
    code = FailureCode.VALIDATION_ERROR


class SourceNotFound(Terminal):
    code = FailureCode.SOURCE_NOT_FOUND


class SourceChanged(Terminal):
    code = FailureCode.STORAGE_ERROR


class MediaRefused(Terminal):
    code = FailureCode.FFMPEG_ERROR


class OwnershipLost(Terminal):
    code = FailureCode.INTERNAL_ERROR


class NotInstalled(Terminal):
    code = FailureCode.INTERNAL_ERROR


class Stopped(Terminal):
    code = FailureCode.CANCELLED


class NoMoments(Terminal):
    code = FailureCode.VALIDATION_ERROR


class ModelRefused(Terminal):
    code = FailureCode.INTERNAL_ERROR


class StorageUnavailable(Transient):
    code = FailureCode.STORAGE_ERROR


class MediaInterrupted(Transient):
    code = FailureCode.FFMPEG_ERROR


class DiskFull(Transient):
    code = FailureCode.STORAGE_ERROR


class MachineLost(Transient):
    code = FailureCode.CRASHED


class ModelUnavailable(Transient):
    code = FailureCode.INTERNAL_ERROR


class DeadlineExceeded(Transient):
    code = FailureCode.TIMEOUT


@dataclass(frozen=True)
class Failure:
    """What a record says about a run that did not complete."""

    code: FailureCode
    message: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """The failure a person reads, of any exception: bounded, and without secrets."""
        if isinstance(error, ClipflowError):
            return cls(error.code, presentable(str(error)))
        text = f"{type(error).__name__}: {error}. This is a defect in clipflow: see the run's log."
        return cls(FailureCode.INTERNAL_ERROR, presentable(text))


def presentable(text: str) -> str:
    """`text` without secrets, at most `MESSAGE_LIMIT_BYTES` of UTF-8, its middle left out."""
    encoded = without_secrets(text).encode()
    if len(encoded) <= MESSAGE_LIMIT_BYTES:
        return encoded.decode()
    half = MESSAGE_LIMIT_BYTES // 2 - 8
    head, tail = (
        encoded[:half].decode(errors="ignore"),
        encoded[-half:].decode(errors="ignore"),
    )
    return f"{head} … {tail}"
