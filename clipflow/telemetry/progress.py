"""How far the work is, told to whoever listens. It costs next to nothing where nobody does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[float], None]

# A thread that the work starts has none: what is reported there is heard by nobody.
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report(fraction: float) -> None:
    """So much of the work is done: from 0 to 1, of the `part` that is open if one is."""
    listener = _listener.get()
    if listener is not None:
        listener(min(1.0, max(0.0, fraction)))


def is_heard() -> bool:
    """Whether anybody listens, where finding out how far the work is takes something."""
    return _listener.get() is not None


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Within it, what this thread's work reports goes to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def part(begin: float, end: float) -> Iterator[None]:
    """Within it, all of the work reported is that from `begin` to `end` of the work around it."""
    whole = _listener.get()
    if whole is None:
        yield
        return

    def scaled(fraction: float) -> None:
        whole(begin + (end - begin) * fraction)

    with heard_by(scaled):
        yield
    scaled(1.0)
