"""Sends the events of finished records that their runs have not sent."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic

from clipflow.domain.errors import ClipflowError, StorageUnavailableError
from clipflow.domain.keys import RecordKeys
from clipflow.domain.transitions import timestamp
from clipflow.storage.outbox import Outbox

# How old a finished record must be before its events are sent; its run does so at once.
GRACE = timedelta(seconds=30)
# If so many records in a row fail, the bus is assumed to be unavailable, and the turn ends.
_MOST_FAILURES = 3
# The pause after a turn that could send nothing; each further one doubles it, up to the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=5)
# Seconds after which a turn leaves the rest to the next one: lost runs, which the same loop looks
# for, must be found within two minutes.
_LONGEST_TURN = 20.0


class UnsentEvents:
    """The events that finished records still have, sent turn by turn."""

    def __init__(self, outbox: Outbox, clock: Callable[[], float] = monotonic) -> None:
        self._outbox = outbox
        self._clock = clock
        self._failed: set[tuple[str, str]] = set()
        self._pause = timedelta(0)
        self._paused_until: datetime | None = None

    async def send(self, now: datetime) -> int:
        """Send what is due; returns how many events.

        If those of one record cannot be sent, those of the others are sent nevertheless. After a
        turn in which none could be sent, a pause begins.

        Raises StorageUnavailableError if events could not be sent.
        """
        if self._paused_until and now < self._paused_until:
            return 0
        sent, in_a_row = 0, 0
        failures: list[ClipflowError] = []
        began = self._clock()
        for keys in await asyncio.to_thread(self._due, now):
            try:
                sent += await asyncio.to_thread(self._outbox.send, keys)
            except ClipflowError as error:
                failures.append(error)
                self._failed.add(_id(keys))
                in_a_row += 1
            else:
                self._failed.discard(_id(keys))
                in_a_row = 0
            if in_a_row == _MOST_FAILURES or self._clock() - began > _LONGEST_TURN:
                break
        if failures and not sent:
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._paused_until = now + self._pause
        else:
            self._pause, self._paused_until = timedelta(0), None
        if failures:
            raise StorageUnavailableError(
                f"{failures[0].message} (events of at least {len(failures)} records are unsent)",
                failures[0].remedy,
            )
        return sent

    def _due(self, now: datetime) -> list[RecordKeys]:
        """The records with unsent events; those that failed before come last, so that they cannot
        keep the others waiting."""
        due = list(self._outbox.unsent(timestamp(now - GRACE)))
        self._failed &= set(map(_id, due))
        return sorted(due, key=lambda keys: _id(keys) in self._failed)


def _id(keys: RecordKeys) -> tuple[str, str]:
    return keys.record["pk"], keys.record["sk"]
