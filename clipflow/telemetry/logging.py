"""Log records as lines of JSON, including the metric events that `infra/` counts."""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from clipflow.domain.errors import redact

# The fields that identify the work of a line. Each is written if it is known.
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
    """Formats a log record as one line of JSON, with the context from `read_context`."""

    def __init__(self, read_context: ContextReader) -> None:
        super().__init__()
        self._read_context = read_context

    def format(self, record: logging.LogRecord) -> str:
        # Values without a JSON form are written as text, because no line may be lost.
        return json.dumps(log_entry(record, self._read_context(record)), default=str)


def log_entry(record: logging.LogRecord, context: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object of one line, ordered for reading, with secrets redacted."""
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    values: dict[str, Any] = {
        "timestamp": timestamp(record.created),
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
        **context,
        **fields,
        **_error(record),
    }
    return {name: _redacted(value) for name, value in values.items()}


def timestamp(seconds: float) -> str:
    """ISO 8601 in UTC, to the millisecond: `2025-01-15T10:42:00.123Z`."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(record: logging.LogRecord) -> dict[str, str]:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return {}
    text = "".join(traceback.format_exception(error))
    return {"error": f"{type(error).__name__}: {error}", "traceback": text}


def _redacted(value: Any) -> Any:
    return redact(value) if isinstance(value, str) else value


_logger = logging.getLogger("clipflow.measures")
# Metric events are logged whatever level the other loggers have.
_logger.setLevel(logging.INFO)


class MetricEvent(NamedTuple):
    """A kind of metric event: the value of its field `event`, and its other fields."""

    event: str
    fields: tuple[str, ...]


# `job` is `clips` or `shorts`, `seconds` the time since the claim, `bytes` the size of the result.
RECORD_COMPLETE = MetricEvent("record_complete", ("job", "seconds", "bytes"))
# `code` is one of `clipflow.domain.errors.FailureCode`.
RECORD_FAILED = MetricEvent("record_failed", ("job", "code"))
# `seconds` is the duration of the step, `bytes` the segment's size, `bytes_read` those of the
# source, `cpu_seconds` that of ffmpeg and Python; `cut_way` is `smart` or `encoded`.
SEGMENT_MADE = MetricEvent(
    "segment_made", ("seconds", "bytes", "bytes_read", "cpu_seconds", "cut_way")
)
# The records in progress, the age of the oldest in seconds, and how many lost ones were handled.
SWEEP_ENDED = MetricEvent(
    "sweep_ended", ("in_progress", "oldest_seconds", "started_again", "marked")
)
# A worker could not start a run's task: the work pool, and the reason that ECS gives.
LAUNCH_REFUSED = MetricEvent("launch_refused", ("pool", "reason"))
# The longest time in seconds for which a run has been waiting for a worker to take it, and the
# number of work pools without a worker that is online.
PREFECT_CHECKED = MetricEvent("prefect_checked", ("late_seconds", "pools_without_worker"))
# The runs that have waited for more than ten seconds for a warm machine, how long the first of them
# has waited, and the number of warm machines that could stop.
WARM_CHECKED = MetricEvent("warm_checked", ("waiting", "wait_seconds", "idle"))
# A check of the Prefect server failed; `reason` says how.
PREFECT_FAILED = MetricEvent("prefect_failed", ("reason",))

METRIC_EVENTS = (
    RECORD_COMPLETE,
    RECORD_FAILED,
    SEGMENT_MADE,
    SWEEP_ENDED,
    LAUNCH_REFUSED,
    PREFECT_CHECKED,
    WARM_CHECKED,
    PREFECT_FAILED,
)


def emit_metric(metric: MetricEvent, message: str, **values: Any) -> None:
    """Logs `message` with the fields of `metric` and any others in `values`.

    The metric filters and alarms in `infra/` read these fields. Raises TypeError if a field is
    missing, because a filter would then count nothing.
    """
    missing = set(metric.fields) - values.keys()
    if missing:
        raise TypeError(f"{metric.event} lacks {', '.join(sorted(missing))}.")
    _logger.info(message, extra={"fields": {"event": metric.event, **values}})
