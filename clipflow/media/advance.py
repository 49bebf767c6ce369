"""How far ffmpeg is, by what it writes for `-progress`."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction

from clipflow.telemetry.progress import is_observed, report

# A report twice a second, to ffmpeg's standard output.
_ARGUMENTS = ("-progress", "pipe:1", "-stats_period", "0.5")
# Microseconds of the output that are written; `N/A` before the first.
_WRITTEN = re.compile(rb"^out_time_us=(\d+)$", re.MULTILINE)
_AT_ONCE = 1 << 16


def seconds_written(said: bytes) -> float | None:
    """Of the output, by the last report in `said` that tells; None where none does."""
    written = _WRITTEN.findall(said)
    return int(written[-1]) / 1e6 if written else None


class Silent:
    """What a run of ffmpeg takes where nobody wants to know how far it is."""

    arguments: Sequence[str] = ()
    output: int = subprocess.DEVNULL

    def look(self) -> None:
        """Nothing to see."""


@dataclass
class Advance(Silent):
    """Reports how much is written of an output that will last `lasting` seconds."""

    lasting: float
    reading: int
    output: int
    arguments: Sequence[str] = _ARGUMENTS
    _line: bytes = field(default=b"")

    def look(self) -> None:
        """What ffmpeg has written since the last look; without waiting for it."""
        try:
            said = self._line + os.read(self.reading, _AT_ONCE)
        except BlockingIOError:
            return
        whole, _, self._line = said.rpartition(b"\n")
        written = seconds_written(whole)
        if written is not None:
            report(written / self.lasting)


@contextmanager
def advance(lasting: Fraction) -> Iterator[Silent]:
    """Of an output of so many seconds; for 0, and where nobody listens, nothing is told."""
    if not (lasting and is_observed()):
        yield Silent()
        return
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        yield Advance(float(lasting), reading, writing)
    finally:
        os.close(reading)
        os.close(writing)
