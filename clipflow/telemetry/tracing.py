"""OpenTelemetry spans of the work, with its cost. Without an SDK they cost almost nothing."""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    set_span_in_context,
)

from clipflow.domain.errors import bounded_message
from clipflow.domain.events import TraceContext

if TYPE_CHECKING:
    from clipflow.telemetry.trace_export import IsEntry, IsLast, OnStart, Root

TRACER = "clipflow"
# The name of the bridge as a service, in service maps.
BRIDGE = "clipflow-bridge"
_PEER = "peer.service"
_PREFIX = "clipflow."
# Either names the collector (OpenTelemetry specification, OTLP exporter configuration).
_COLLECTOR_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# The settings that other machines get too. OTLP's headers are not included, since they may contain
# a key.
PROPAGATED_SETTINGS = (
    *_COLLECTOR_VARIABLES,
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
)


@dataclass
class Work:
    """The cost of a span's work so far; CPU seconds include those of its child spans."""

    bytes_read: int = 0
    bytes_written: int = 0
    cpu_seconds: float = 0.0
    cut_way: str = ""


_works: ContextVar[tuple[Work, ...]] = ContextVar("works", default=())
# The ids of the next span, if they are given.
next_span: ContextVar[TraceContext | None] = ContextVar("next_span", default=None)


@contextmanager
def span(name: str) -> Iterator[Work]:
    """A span for the block, as a child of the current one; yields the `Work` to which the block
    adds.

    The CPU time of this thread is added here, that of other programs by `add_cpu_seconds`.
    """
    outer, work = _works.get(), Work()
    token, began = _works.set((*outer, work)), time.thread_time()
    opened = trace.get_tracer(TRACER).start_span(name)
    try:
        with trace.use_span(opened, record_exception=False, set_status_on_exception=False):
            yield work
    except Exception as error:
        # The error itself may hold a presigned URL.
        description = bounded_message(f"{type(error).__name__}: {error}")
        opened.set_status(trace.StatusCode.ERROR, description)
        raise
    finally:
        work.cpu_seconds += time.thread_time() - began
        opened.set_attributes(work_attributes(work))
        opened.end()
        _works.reset(token)


def add_cpu_seconds(cpu_seconds: float) -> None:
    """Adds the CPU time of a program to all current spans."""
    for work in _works.get():
        work.cpu_seconds += cpu_seconds


def counting_bytes(fetch: Callable[[int, int], bytes]) -> Callable[[int, int], bytes]:
    """`fetch` that also adds its bytes to the innermost current span of this thread."""

    def fetched(start: int, end: int) -> bytes:
        data = fetch(start, end)
        for work in _works.get()[-1:]:
            work.bytes_read += len(data)
        return data

    return fetched


def work_attributes(work: Work) -> dict[str, str | int | float]:
    """The span attributes of `work`, without those that are empty or zero."""
    values = {field.name: getattr(work, field.name) for field in fields(work)}
    return {
        f"{_PREFIX}{name}": round(value, 3) if isinstance(value, float) else value
        for name, value in values.items()
        if value
    }


def context_attributes(values: dict[str, str]) -> dict[str, str]:
    """The span attributes for the context of the work: `clip_id` becomes `clipflow.clip_id`.

    `trace_id` is omitted, since each span has it.
    """
    return {f"{_PREFIX}{name}": value for name, value in values.items() if name != "trace_id"}


def service_of(flow: str) -> str:
    """The name of a flow's runs as a service, in service maps."""
    return f"{TRACER}-{flow}"


def record_event(
    flow: str, at: TraceContext, caller: TraceContext | None, began: float, values: dict[str, str]
) -> None:
    """Records the spans of an event that has started a run of `flow`: from `began` (seconds since
    1970) until now, and below it, with the ids of `at`, the span that the run continues."""
    start, tracer = int(began * 1e9), trace.get_tracer(TRACER)
    attributes = context_attributes(values)
    received = TraceContext(at.trace_id, secrets.token_hex(8), at.sampled)
    with _with_ids(received):
        above = tracer.start_span(
            "event", context_below(caller), SpanKind.SERVER, attributes, start_time=start
        )
    with _with_ids(at):
        below = tracer.start_span(
            f"start {flow}",
            set_span_in_context(above, Context()),
            SpanKind.CLIENT,
            {**attributes, _PEER: service_of(flow)},
            start_time=start,
        )
    below.end()
    above.end()


@contextmanager
def _with_ids(ids: TraceContext) -> Iterator[None]:
    token = next_span.set(ids)
    try:
        yield
    finally:
        next_span.reset(token)


@contextmanager
def call(flow: str, at: TraceContext | None = None) -> Iterator[TraceContext | None]:
    """A span for the start of a run of `flow`, below `at` or the current span.

    Yields its ids, which the run continues; None without a trace. X-Ray draws a connection between
    two services only from such a span in the caller.
    """
    opened = trace.get_tracer(TRACER).start_span(
        f"start {flow}",
        context_below(at) if at else None,
        SpanKind.CLIENT,
        {_PEER: service_of(flow)},
    )
    with trace.use_span(opened, end_on_exit=True, record_exception=False):
        own = opened.get_span_context()
        ids = TraceContext(f"{own.trace_id:032x}", f"{own.span_id:016x}", own.trace_flags.sampled)
        yield ids if own.is_valid else None


def context_below(at: TraceContext | None) -> Context:
    """The OpenTelemetry context whose spans have `at` as their parent; None means no parent."""
    if at is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if at.sampled else TraceFlags.DEFAULT)
    remote = SpanContext(
        int(at.trace_id, 16), int(at.span_id, 16), is_remote=True, trace_flags=flags
    )
    return set_span_in_context(NonRecordingSpan(remote), Context())


def current_trace_id() -> str:
    """The trace id of the current span as 32 hexadecimal digits; empty without a span."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def is_enabled(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names a collector and does not disable traces."""
    return (
        any(environment.get(name) for name in _COLLECTOR_VARIABLES)
        and environment.get("OTEL_SDK_DISABLED", "").lower() != "true"
        and environment.get("OTEL_TRACES_EXPORTER", "otlp") == "otlp"
    )


def configure(
    service: str,
    on_start: "OnStart | None" = None,
    is_last: "IsLast | None" = None,
    root: "Root | None" = None,
    is_entry: "IsEntry | None" = None,
) -> None:
    """Exports this process's spans to the collector that the environment names, if any.

    The SDK is imported only here, since that takes a fifth of a second.

    Args:
        service: the name of this process in service maps, unless the environment has another.
        on_start: called with each span that starts, and its parent. is_last: whether all spans are
        to be sent at once after this one, because the process may end. root: finds the parent of a
        span that has none. is_entry: whether this process was called by the span's parent.
    """
    if is_enabled():
        from clipflow.telemetry.trace_export import install

        install(service, on_start, is_last, root, is_entry, next_span)
