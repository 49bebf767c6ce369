"""Whether OpenTelemetry's standard variables want spans, and setting up what exports them."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipflow.telemetry.sdk import IsLast, OnStart, Root

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


def set_up(
    on_start: "OnStart | None" = None,
    is_last: "IsLast | None" = None,
    root: "Root | None" = None,
) -> None:
    """Export this process's spans to the collector that the environment names, if any.

    `on_start` is called with each span that begins and the span above it; after a span of which
    `is_last` is true, everything is sent at once, as it is when the process ends; `root` finds the
    parent of a span that has none. The SDK is imported here only: it takes a fifth of a second.
    """
    if is_wanted():
        from clipflow.telemetry.sdk import install

        install(on_start, is_last, root)
