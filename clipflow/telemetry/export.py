"""Whether OpenTelemetry's standard variables want spans, and setting up what exports them."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

    from clipflow.telemetry.sdk import Root

# OpenTelemetry specification, OTLP exporter configuration: either names the collector.
_COLLECTOR = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# What a machine elsewhere is told of where spans go. Headers may hold a key, and are not among it.
OPEN = (
    *_COLLECTOR,
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
)


def is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a collector is named, and traces are not switched off."""
    return (
        any(environment.get(name) for name in _COLLECTOR)
        and environment.get("OTEL_SDK_DISABLED", "").lower() != "true"
        and environment.get("OTEL_TRACES_EXPORTER", "otlp") == "otlp"
    )


def set_up(processors: "Sequence[SpanProcessor]" = (), root: "Root | None" = None) -> None:
    """Spans of this process go to the collector of the environment, where one is named.

    `processors` see each span as well; `root` finds what one without a parent belongs to. What is
    left is sent when the process ends. The SDK is imported here only: it takes a fifth of a second.
    """
    if is_wanted():
        from clipflow.telemetry.sdk import install

        install(processors, root)
