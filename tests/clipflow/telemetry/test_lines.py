"""JSON log lines, parsed as a log reader parses them."""

import json
import logging
import re
import sys
from typing import Any

import pytest

from clipflow.domain.errors import StorageUnavailableError
from clipflow.telemetry.logging import RECORD_FAILED, SEGMENT_MADE, JsonFormatter, emit_metric

URL = "https://bucket.s3.amazonaws.com/a.mp4?X-Amz-Signature=secret&X-Amz-Credential=key"


def formatted(message: str, *args: object, **more: Any) -> dict[str, Any]:
    record = logging.LogRecord("clipflow.x", logging.INFO, "x.py", 1, message, args, None)
    vars(record).update(more)
    line = JsonFormatter(lambda _: {"run_id": "r-1", "step": f"reading {URL}"}).format(record)
    assert "\n" not in line
    assert "secret" not in line
    return dict(json.loads(line))


def test_a_line_has_timestamp_level_and_logger() -> None:
    line = formatted("read %s twice\nover", "main.mp4")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "INFO",
        "logger": "clipflow.x",
        "message": "read main.mp4 twice\nover",
        "run_id": "r-1",
        "step": "reading https://bucket.s3.amazonaws.com/a.mp4?…",
    }


def test_an_error_is_logged_without_presigned_url_credentials() -> None:
    try:
        raise StorageUnavailableError(f"Reading {URL} failed.")
    except StorageUnavailableError:
        line = formatted("failed: %s", URL, exc_info=sys.exc_info())
    assert line["error"] == (
        "StorageUnavailableError: Reading https://bucket.s3.amazonaws.com/a.mp4?… failed."
    )
    assert line["traceback"].startswith("Traceback") and __file__ in line["traceback"]
    assert line["message"] == "failed: https://bucket.s3.amazonaws.com/a.mp4?…"


def test_a_line_with_unserializable_values_is_written() -> None:
    line = formatted("odd", fields={"event": "odd", "value": {1}, "half": "\ud800"})
    assert (line["value"], line["half"]) == ("{1}", "\ud800")


def test_the_line_of_a_metric_has_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    emit_metric(RECORD_FAILED, "clip c failed", job="clips", code="TIMEOUT", clip_id="c")
    (record,) = caplog.records
    line = formatted(record.message, fields=vars(record)["fields"])
    assert (line["event"], line["job"], line["code"]) == ("record_failed", "clips", "TIMEOUT")
    assert (line["clip_id"], line["message"]) == ("c", "clip c failed")


def test_a_metric_without_a_required_field_raises() -> None:
    with pytest.raises(TypeError, match="segment_made lacks bytes, bytes_read"):
        emit_metric(SEGMENT_MADE, "made", seconds=1, cpu_seconds=1, cut_way="smart")
