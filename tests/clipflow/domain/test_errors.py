"""Errors between processes, and the failures that are stored in records."""

import pickle

from clipflow.domain.errors import (
    MESSAGE_LIMIT_BYTES,
    Failure,
    FailureCode,
    MediaRefusedError,
    StorageUnavailableError,
)


def test_an_error_can_be_pickled_for_another_process() -> None:
    error = pickle.loads(pickle.dumps(MediaRefusedError("It broke.", "Fix it.")))
    assert (type(error), str(error)) == (MediaRefusedError, "It broke. Fix it.")


def test_a_failures_message_has_no_presigned_query() -> None:
    error = StorageUnavailableError(
        "http://s3/b/k.mp4?X-Amz-Signature=abc&X-Amz-Credential=d failed."
    )
    failure = Failure.of(error)
    assert failure.code is FailureCode.STORAGE_ERROR
    assert "k.mp4" in failure.message
    assert "X-Amz" not in failure.message


def test_a_failures_message_is_bounded_and_keeps_both_ends() -> None:
    message = Failure.of(MediaRefusedError("begin " + "ü" * 4000 + " end")).message
    assert len(message.encode()) <= MESSAGE_LIMIT_BYTES
    assert message.startswith("begin")
    assert message.endswith("end")


def test_an_unexpected_exception_is_an_internal_error() -> None:
    failure = Failure.of(KeyError("x"))
    assert failure.code is FailureCode.INTERNAL_ERROR
    assert "KeyError" in failure.message
