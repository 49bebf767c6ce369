"""The measured lines: what the metric filters and alarms of `infra/` read.

Each is a log line with an `event` and the fields named here; a test holds both sides together.
"""

import logging
from typing import Any, NamedTuple

_LOG = logging.getLogger("clipflow.measures")
# A line that is counted is said at any level that the rest may have.
_LOG.setLevel(logging.INFO)


class Measure(NamedTuple):
    """A kind of measured line: its `event`, and the fields that each of them has."""

    event: str
    fields: tuple[str, ...]


# Of a job (`clips`, `shorts`): seconds from its claim, bytes of what was made.
RECORD_COMPLETE = Measure("record_complete", ("job", "seconds", "bytes"))
# `code` is one of `clipflow.domain.errors.FailureCode`.
RECORD_FAILED = Measure("record_failed", ("job", "code"))
# Of making it: seconds, bytes of the source read for it, CPU-seconds of ffmpeg and of Python;
# `cut_way` is `smart` or `encoded`.
SEGMENT_MADE = Measure("segment_made", ("seconds", "bytes", "bytes_read", "cpu_seconds", "cut_way"))
# Records in progress, the oldest one's seconds, and what the sweep did about those left behind.
SWEEP_ENDED = Measure("sweep_ended", ("in_progress", "oldest_seconds", "started_again", "marked"))

MEASURES = (RECORD_COMPLETE, RECORD_FAILED, SEGMENT_MADE, SWEEP_ENDED)


def say(measure: Measure, message: str, **values: Any) -> None:
    """Log `message`, for people, with the measure's fields and whatever else is in `values`.

    Raises TypeError where a field is missing: a filter would count nothing.
    """
    missing = set(measure.fields) - values.keys()
    if missing:
        raise TypeError(f"{measure.event} lacks {', '.join(sorted(missing))}.")
    _LOG.info(message, extra={"fields": {"event": measure.event, **values}})
