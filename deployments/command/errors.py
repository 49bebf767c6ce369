"""How the command ends: its exit codes, and one line for whatever went wrong."""

from enum import IntEnum

from clipflow.domain.errors import (
    ClipflowError,
    InvalidInputError,
    StorageUnavailableError,
    TransientError,
    presentable,
)


class Exit(IntEnum):
    """What the shell gets; 2 is also what typer gives for a wrong option, 130 what shells give."""

    MADE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class UnreachableError(TransientError):
    """The stack, AWS or Prefect does not answer, or does not come up."""


_DEFECT = "This is a defect in clipflow: run it again with --debug, which shows where."
_CHECK_AWS = "Check AWS_ENDPOINT_URL, BUCKET_NAME, TABLE_NAME, and that your keys may use them."
_CHECK_DISK = "Check that it may be read or written, and that the disk has room."
_CHECK_PREFECT = "Check PREFECT_API_URL and its credentials; what runs goes on there."


def told(error: BaseException) -> tuple[Exit, str, str]:
    """The exit code, what failed and what to do about it: each one line, without secrets."""
    code, message, remedy = _told(error)
    return code, one_line(message), one_line(remedy)


def one_line(text: str) -> str:
    """`text` on one line, bounded, without secrets."""
    return presentable(" ".join(text.split()))


def _told(error: BaseException) -> tuple[Exit, str, str]:
    # Here, because most calls of the command import neither.
    import httpx
    from pydantic import ValidationError

    from clipflow.domain.model import faults

    match error:
        case KeyboardInterrupt():
            return Exit.INTERRUPTED, "Interrupted.", ""
        case StorageUnavailableError():
            return Exit.UNREACHABLE, error.message, _CHECK_AWS
        case UnreachableError():
            return Exit.UNREACHABLE, error.message, error.remedy
        case InvalidInputError():
            return Exit.USAGE, error.message, error.remedy
        case ClipflowError():
            return Exit.FAILED, error.message, error.remedy
        case ValidationError():
            return Exit.USAGE, f"Not valid: {faults(error)}.", "Correct what it names."
        case httpx.HTTPStatusError():
            status = error.response.status_code
            return Exit.UNREACHABLE, f"Prefect answers HTTP {status}.", _CHECK_PREFECT
        case httpx.HTTPError():
            kind = type(error).__name__
            return Exit.UNREACHABLE, f"Prefect does not answer ({kind}).", _CHECK_PREFECT
        case OSError():
            name = f"{error.filename}: " if error.filename else ""
            return Exit.FAILED, f"{name}{error.strerror or error}.", _CHECK_DISK
    return Exit.FAILED, f"{type(error).__name__}: {error}.", _DEFECT
