"""Progress of the work, from 0 to 1, reported to a callback. It is almost free without one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

ProgressCallback = Callable[[float], None]

# A thread that the work starts has no callback: what it reports goes nowhere.
_callback: ContextVar[ProgressCallback | None] = ContextVar("callback", default=None)


def report(fraction: float) -> None:
    """Report that `fraction` (0 to 1) of the work is done, or of the open `portion` of it."""
    callback = _callback.get()
    if callback is not None:
        callback(min(1.0, max(0.0, fraction)))


def is_observed() -> bool:
    """Whether there is a callback. For work that has to measure its progress first."""
    return _callback.get() is not None


@contextmanager
def reporting_to(callback: ProgressCallback) -> Iterator[None]:
    """Within the block, the progress of this thread goes to `callback`."""
    token = _callback.set(callback)
    try:
        yield
    finally:
        _callback.reset(token)


@contextmanager
def portion(begin: float, end: float) -> Iterator[None]:
    """Within the block, progress from 0 to 1 counts as `begin` to `end` of the work around it."""
    whole = _callback.get()
    if whole is None:
        yield
        return

    def scaled(fraction: float) -> None:
        whole(begin + (end - begin) * fraction)

    with reporting_to(scaled):
        yield
    scaled(1.0)
