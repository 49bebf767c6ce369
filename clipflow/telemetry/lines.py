"""Log records as JSON, one object a line."""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from clipflow.domain.errors import without_secrets

# What a line may say of the work it belongs to; each is there where it is known.
CONTEXT = (
    "tenant_id",
    "episode_id",
    "clip_id",
    "user_id",
    "video_id",
    "run_id",
    "step",
    "trace_id",
)
Known = Callable[[logging.LogRecord], Mapping[str, str]]


class JsonLines(logging.Formatter):
    """A record as one line of JSON, with what is `known` of the work it belongs to."""

    def __init__(self, known: Known) -> None:
        super().__init__()
        self._known = known

    def format(self, record: logging.LogRecord) -> str:
        # Whatever cannot be written as JSON is told as text: no line is lost for its contents.
        return json.dumps(entry(record, self._known(record)), default=str)


def entry(record: logging.LogRecord, known: Mapping[str, str]) -> dict[str, Any]:
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
    return without_secrets(value) if isinstance(value, str) else value
