"""Errors while a source is read: what PyAV raises or only logs, as clipflow's errors."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EIO, ENOSPC

import av

from clipflow.domain.errors import (
    ClipflowError,
    DeadlineExceededError,
    DiskFullError,
    MediaRefusedError,
    SourceChangedError,
    SourceNotFoundError,
    StorageRefusedError,
    StorageUnavailableError,
)
from clipflow.media.ranges import InterruptedReadError

# The suffix of a playlist's key. libavformat itself reads the chunks of a playlist.
PLAYLIST = ".m3u8"
# Seconds to open a source, and to wait for any one read of it.
TIMEOUT = (30.0, 30.0)


# What libavformat logs where it goes on without a chunk, or without the rest of one, as if the
# playlist did not name it; and where a server refuses one.
_SKIPPED = re.compile(
    "failed too many times, skipping|Failed to reconnect|Failed to open an initialization section"
    "|Unable to (open|read) key file"
)
_ENDED_EARLY, _RECONNECTS = "Stream ends prematurely", "Will reconnect"
_STATUS = re.compile(r"HTTP error (\d{3})")


@contextmanager
def _without_skipped_chunks(name: str) -> Iterator[None]:
    """Raise an error if a chunk of the playlist `name` is skipped while it is read."""
    if not name.endswith(PLAYLIST):
        yield
        return
    before = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    failure: Exception | None = None
    try:
        with av.logging.Capture() as lines:
            try:
                yield
            except (ClipflowError, av.error.FFmpegError) as error:
                # A chunk that is missing may be the reason.
                failure = error
    finally:
        av.logging.set_level(before)
    text = "\n".join(message for _, _, message in lines)
    is_cut_off = text.count(_ENDED_EARLY) > text.count(_RECONNECTS)
    if not is_cut_off and not _SKIPPED.search(text):
        if failure is not None:
            raise failure
        return
    status = _STATUS.findall(text)
    raise _chunk_error(name, int(status[-1]) if status else 0) from None


def _chunk_error(name: str, status: int) -> ClipflowError:
    if status == 404:
        return SourceNotFoundError(
            f"{name}: one of its chunks is not there.", "Upload it, or correct the playlist."
        )
    if status == 403:
        return StorageRefusedError(
            f"Reading {name}: S3 refuses one of its chunks or playlists.",
            "Restore it where it is archived, or permit it to be read.",
        )
    return StorageUnavailableError(f"Reading {name} failed: one of its chunks could not be read.")


@contextmanager
def source_errors(name: str) -> Iterator[None]:
    """Converts errors that PyAV raises while it reads the source `name` to clipflow's errors."""
    try:
        with _without_skipped_chunks(name):
            yield
    except InterruptedReadError as carried:
        raise (carried.__cause__ or carried) from None
    except av.error.HTTPNotFoundError:
        raise SourceNotFoundError(f"{name} does not exist.") from None
    except av.error.HTTPForbiddenError:
        raise StorageRefusedError(
            f"Reading {name}: S3 refuses one of its chunks or playlists.",
            "If it is archived, restore it; otherwise grant the role access to it.",
        ) from None
    except av.error.HTTPOtherClientError:
        raise SourceChangedError(
            f"{name} was replaced while it was read.", "Start the run again."
        ) from None
    except (
        av.error.HTTPClientError,
        av.error.HTTPError,
        av.error.ConnectionRefusedError,
        av.error.ConnectionResetError,
        av.error.OSError,
    ) as error:
        if error.errno == ENOSPC:
            # Packets are written to disk while they are read.
            raise DiskFullError(
                f"Reading {name}: the disk is full.", "Give the worker more disk space."
            ) from None
        if error.errno == EIO and not name.endswith(PLAYLIST):
            # The bytes of all other sources are fetched by `RangeFile`, which raises errors of its
            # own, so this is an error in the content.
            raise _damaged(name, error) from None
        raise StorageUnavailableError(f"Reading {name} failed: {error.strerror}.") from None
    except (av.error.ExitError, av.error.TimeoutError):
        raise DeadlineExceededError(
            f"Reading {name}: no response within {TIMEOUT[1]:.0f} s."
        ) from None
    except av.error.FFmpegError as error:
        raise _damaged(name, error) from None


def _damaged(name: str, error: av.error.FFmpegError) -> MediaRefusedError:
    return MediaRefusedError(
        f"{name} cannot be read: {error.strerror}.", "Check that the source plays."
    )
