"""Progress of the work, from 0 to 1, reported to a callback. It costs almost nothing without
one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

ProgressCallback = Callable[[float], None]

# A new thread has no callback, so its reports have no effect.
_callback: ContextVar[ProgressCallback | None] = ContextVar("callback", default=None)


def report(fraction: float) -> None:
    """Reports that `fraction` (0 to 1) of the work, or of the current `portion`, is done."""
    callback = _callback.get()
    if callback is not None:
        callback(min(1.0, max(0.0, fraction)))


def is_observed() -> bool:
    """Whether there is a callback; without one, work need not measure its progress."""
    return _callback.get() is not None


@contextmanager
def reporting_to(callback: ProgressCallback) -> Iterator[None]:
    """Reports the progress of this thread to `callback` within the block."""
    token = _callback.set(callback)
    try:
        yield
    finally:
        _callback.reset(token)


@contextmanager
def portion(begin: float, end: float) -> Iterator[None]:
    """Counts progress from 0 to 1 within the block as `begin` to `end` of the outer work."""
    whole = _callback.get()
    if whole is None:
        yield
        return

    def scaled(fraction: float) -> None:
        whole(begin + (end - begin) * fraction)

    with reporting_to(scaled):
        yield
    scaled(1.0)
