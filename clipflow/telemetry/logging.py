"""Log records as JSON, one object a line, and among them the metric events that infra/ counts."""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from clipflow.domain.errors import redact

# What a line may say of the work it belongs to; each is there where it is known.
CONTEXT_FIELDS = (
    "tenant_id",
    "episode_id",
    "clip_id",
    "user_id",
    "video_id",
    "run_id",
    "step",
    "trace_id",
)
ContextReader = Callable[[logging.LogRecord], Mapping[str, str]]


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, with what is `known` of the work it belongs to."""

    def __init__(self, known: ContextReader) -> None:
        super().__init__()
        self._known = known

    def format(self, record: logging.LogRecord) -> str:
        # Whatever cannot be written as JSON is told as text: no line is lost for its contents.
        return json.dumps(log_entry(record, self._known(record)), default=str)


def log_entry(record: logging.LogRecord, known: Mapping[str, str]) -> dict[str, Any]:
    """The object of one line, in the order that a person reads it, without secrets."""
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    told: dict[str, Any] = {
        "timestamp": timestamp(record.created),
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
        **known,
        **fields,
        **_error(record),
    }
    return {name: _clean(value) for name, value in told.items()}


def timestamp(seconds: float) -> str:
    """ISO 8601 in UTC, to the millisecond: `2025-01-15T10:42:00.123Z`."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(record: logging.LogRecord) -> dict[str, str]:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return {}
    told = "".join(traceback.format_exception(error))
    return {"error": f"{type(error).__name__}: {error}", "traceback": told}


def _clean(value: Any) -> Any:
    return redact(value) if isinstance(value, str) else value


_metrics_logger = logging.getLogger("clipflow.measures")
# A line that is counted is said at any level that the rest may have.
_metrics_logger.setLevel(logging.INFO)


class MetricEvent(NamedTuple):
    """A kind of measured line: its `event`, and the fields that each of them has."""

    event: str
    fields: tuple[str, ...]


# Of a job (`clips`, `shorts`): seconds from its claim, bytes of what was made.
RECORD_COMPLETE = MetricEvent("record_complete", ("job", "seconds", "bytes"))
# `code` is one of `clipflow.domain.errors.FailureCode`.
RECORD_FAILED = MetricEvent("record_failed", ("job", "code"))
# Of making it: seconds, bytes of the source read for it, CPU-seconds of ffmpeg and of Python;
# `cut_way` is `smart` or `encoded`.
SEGMENT_MADE = MetricEvent(
    "segment_made", ("seconds", "bytes", "bytes_read", "cpu_seconds", "cut_way")
)
# Records in progress, the oldest one's seconds, and what the sweep did about those left behind.
SWEEP_ENDED = MetricEvent(
    "sweep_ended", ("in_progress", "oldest_seconds", "started_again", "marked")
)

METRIC_EVENTS = (RECORD_COMPLETE, RECORD_FAILED, SEGMENT_MADE, SWEEP_ENDED)


def emit_metric(measure: MetricEvent, message: str, **values: Any) -> None:
    """Log `message`, for people, with the measure's fields and whatever else is in `values`.

    Raises TypeError where a field is missing: a filter would count nothing.
    """
    missing = set(measure.fields) - values.keys()
    if missing:
        raise TypeError(f"{measure.event} lacks {', '.join(sorted(missing))}.")
    _metrics_logger.info(message, extra={"fields": {"event": measure.event, **values}})
