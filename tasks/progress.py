"""Progress on the run's own page: a bar for each step that is at work for more than a second.

The work only says how far it is. Prefect is told by a thread, since an answer of its server's may
take its time, and where it gives none the work goes on all the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from threading import Event, Thread
from typing import cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from clipflow.domain.errors import presentable
from clipflow.telemetry.progress import heard_by

# Seconds between two updates, and until the first.
_EVERY = 1.0
# Seconds that the work waits at its end for the last update; one that takes longer comes after.
_LAST_WORD = 2.0


class Bar:
    """What a step's progress artifact shows: percent, and words beside it. Both only grow."""

    def __init__(self, key: str, words: str) -> None:
        self._key, self._words = key, words
        self._percent = 0.0
        self._shown: tuple[float, str] | None = None
        self._artifact: UUID | None = None
        self._over, self._done = Event(), False

    def tell(self, fraction: float, words: str = "") -> None:
        """So much is done, from 0 to 1. From any thread; it takes no time."""
        self._percent = max(self._percent, round(100 * fraction, 1))
        self._words = words or self._words

    def end(self, *, done: bool) -> None:
        """Nothing more will be told; the bar is full if the work is done, and stands else."""
        self._percent = 100.0 if done else self._percent
        self._over.set()

    def show(self) -> None:
        """Keeps the artifact as it should be, until the end."""
        try:
            while not self._over.wait(_EVERY):
                self._put()
            if self._artifact:
                self._put()
        except Exception as error:  # noqa: BLE001 - whatever it is, no work fails for want of a bar
            get_run_logger().warning("The progress of %s is not shown: %s", self._key, told(error))

    def _put(self) -> None:
        now = self._percent, self._words
        if now == self._shown:
            return
        if self._artifact is None:
            # Its type is that of both its uses; outside an event loop it gives the id itself.
            self._artifact = cast(UUID, create_progress_artifact(now[0], self._key, now[1]))
        else:
            update_progress_artifact(self._artifact, now[0], now[1])
        self._shown = now


@contextmanager
def shown(key: str, words: str) -> Iterator[Bar]:
    """Within it, what the craft reports is shown as the artifact `key`, with `words` beside it."""
    bar = Bar(key, words)
    # In a copy of this context, by which Prefect knows whose artifact it is.
    thread = Thread(target=copy_context().run, args=(bar.show,), name="progress", daemon=True)
    thread.start()
    done = False
    try:
        with heard_by(bar.tell):
            yield bar
        done = True
    finally:
        bar.end(done=done)
        thread.join(_LAST_WORD)


@contextmanager
def counted(total: int, what: str) -> Iterator[Callable[[], None]]:
    """Within it, each call of what it gives is one more done: `3 of 12 segments`."""
    with shown(what, f"0 of {total} {what}") as bar:
        count = 0

        def one_more() -> None:
            nonlocal count
            count += 1
            bar.tell(count / total, f"{count} of {total} {what}")

        yield one_more


def told(error: Exception) -> str:
    """For a line of a log."""
    return presentable(f"{type(error).__name__}: {error}")
