"""How far the work is, told to whoever listens. It costs next to nothing where nobody does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

ProgressCallback = Callable[[float], None]

# A thread that the work starts has none: what is reported there is heard by nobody.
_callback: ContextVar[ProgressCallback | None] = ContextVar("listener", default=None)


def report(fraction: float) -> None:
    """So much of the work is done: from 0 to 1, of the `part` that is open if one is."""
    listener = _callback.get()
    if listener is not None:
        listener(min(1.0, max(0.0, fraction)))


def is_observed() -> bool:
    """Whether anybody listens, where finding out how far the work is takes something."""
    return _callback.get() is not None


@contextmanager
def reporting_to(listener: ProgressCallback) -> Iterator[None]:
    """Within it, what this thread's work reports goes to `listener`."""
    token = _callback.set(listener)
    try:
        yield
    finally:
        _callback.reset(token)


@contextmanager
def portion(begin: float, end: float) -> Iterator[None]:
    """Within it, all of the work reported is that from `begin` to `end` of the work around it."""
    whole = _callback.get()
    if whole is None:
        yield
        return

    def scaled(fraction: float) -> None:
        whole(begin + (end - begin) * fraction)

    with reporting_to(scaled):
        yield
    scaled(1.0)
