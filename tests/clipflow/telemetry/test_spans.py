"""CPU time and bytes recorded by spans, and no cost when spans are not collected."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from clipflow.media import ffmpeg
from clipflow.telemetry.tracing import (
    add_cpu_seconds,
    counting_bytes,
    is_enabled,
    span,
    work_attributes,
)
from tests.made_media import a_machine


def test_a_span_includes_the_cpu_time_of_nested_spans() -> None:
    with span("segment") as outer, span("ffmpeg") as inner:
        add_cpu_seconds(1.5)
    assert inner.cpu_seconds == pytest.approx(1.5, abs=0.1)
    assert outer.cpu_seconds == pytest.approx(1.5, abs=0.1)
    add_cpu_seconds(3)
    assert outer.cpu_seconds < 2


def test_bytes_are_counted_in_the_innermost_span() -> None:
    fetch = counting_bytes(lambda start, end: b"x" * (end - start))
    fetch(0, 7)
    with span("segment") as outer:
        fetch(0, 5)
        with span("below") as inner:
            fetch(0, 3)
    assert (outer.bytes_read, inner.bytes_read) == (5, 3)
    assert work_attributes(inner)["clipflow.bytes_read"] == 3


@pytest.mark.slow
def test_an_ffmpeg_run_reports_its_cpu_time_and_bytes(tmp_path: Path) -> None:
    made = tmp_path / "made.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=size=640x360:duration=2"]
    began = time.monotonic()
    with span("all") as work:
        ffmpeg.run([*source, str(made)], "making a picture", a_machine(), 60)
    assert 0.05 < work.cpu_seconds < 4 * (time.monotonic() - began)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
    ],
)
def test_the_standard_variables_enable_spans(variables: dict[str, str], expected: bool) -> None:
    assert is_enabled(variables) == expected


@pytest.mark.slow
def test_without_a_collector_the_sdk_is_not_imported() -> None:
    script = "import flows.generate_clip, sys; print('opentelemetry.sdk' in sys.modules)"
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert completed.stdout.split()[-1] == b"False"
