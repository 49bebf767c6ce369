"""The OpenTelemetry SDK of a process; imported only if spans are exported."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_TIMEOUT,
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT,
)
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Status

from clipflow.domain.errors import redact
from clipflow.domain.events import TraceContext

# Returns the context of the parent of a span, given the span's attributes; None without a parent.
Root = Callable[[Mapping[str, Any]], Context | None]
# Called with a span that starts, and its parent.
OnStart = Callable[[Span, trace.Span], None]
# Whether the span, given its attributes, is that of a call of this process by another one.
IsEntry = Callable[[Mapping[str, Any]], bool]
# Whether the process may be killed after this span.
IsLast = Callable[[ReadableSpan], bool]
# Seconds, instead of 10, because a run waits this long at its end if no collector responds.
_TIMEOUT = 3
_FLUSH_MILLISECONDS = 3000
# The SDK's name for a service that has none.
_UNNAMED_SERVICE = "unknown_service"


def install(
    service: str,
    on_start: OnStart | None,
    is_last: IsLast | None,
    root: Root | None,
    is_entry: IsEntry | None,
    next_span: ContextVar[TraceContext | None],
) -> None:
    """Sets this process's tracer provider from the standard variables; see `tracing.configure`."""
    provider = Provider(
        resource=_resource(service), id_generator=SpanIds(next_span), root=root, is_entry=is_entry
    )
    provider.add_span_processor(BatchSpanProcessor(_exporter()))
    provider.add_span_processor(SpanHooks(provider, on_start, is_last))
    trace.set_tracer_provider(provider)


class SpanHooks(SpanProcessor):
    """Calls `on_start` for each span, and flushes `provider` after a span for which `is_last` is
    true."""

    def __init__(
        self, provider: TracerProvider, on_start: OnStart | None, is_last: IsLast | None
    ) -> None:
        self._provider, self._on_start, self._is_last = provider, on_start, is_last

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._on_start:
            self._on_start(span, trace.get_current_span(parent_context))

    def on_end(self, span: ReadableSpan) -> None:
        if self._is_last and self._is_last(span):
            self._provider.force_flush(_FLUSH_MILLISECONDS)


class Exporter(OTLPSpanExporter):
    """The SDK's exporter, with secrets redacted, since Prefect's spans have unredacted errors."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return super().export([_redacted_span(span) for span in spans])


def _redacted_span(span: ReadableSpan) -> ReadableSpan:
    events = [Event(each.name, _redacted(each.attributes), each.timestamp) for each in span.events]
    status = Status(span.status.status_code, redact(span.status.description or "") or None)
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=_redacted(span.attributes),
        events=events,
        links=span.links,
        kind=span.kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _redacted(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    pairs = (attributes or {}).items()
    return {name: redact(value) if isinstance(value, str) else value for name, value in pairs}


def _exporter() -> Exporter:
    given = {OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_EXPORTER_OTLP_TRACES_TIMEOUT} & os.environ.keys()
    return Exporter() if given else Exporter(timeout=_TIMEOUT)


def _resource(service: str) -> Resource:
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, _UNNAMED_SERVICE)).startswith(_UNNAMED_SERVICE):
        return found.merge(Resource({SERVICE_NAME: service}))
    return found


class SpanIds(RandomIdGenerator):
    """Generates random ids, except for a span whose ids are in `next_span`."""

    def __init__(self, next_span: ContextVar[TraceContext | None]) -> None:
        self._next_span = next_span

    def generate_span_id(self) -> int:
        given = self._next_span.get()
        return int(given.span_id, 16) if given else super().generate_span_id()

    def generate_trace_id(self) -> int:
        given = self._next_span.get()
        return int(given.trace_id, 16) if given else super().generate_trace_id()


class Provider(TracerProvider):
    """The SDK's provider, with `root` as the parent of spans that have none, and the kind SERVER of
    spans for which `is_entry` is true."""

    def __init__(self, root: Root | None, is_entry: IsEntry | None, **settings: Any) -> None:
        super().__init__(**settings)
        self._root = root or (lambda _attributes: None)
        self._is_entry = is_entry or (lambda _attributes: False)

    def get_tracer(self, *args: Any, **settings: Any) -> trace.Tracer:
        return RootedTracer(super().get_tracer(*args, **settings), self._root, self._is_entry)


class RootedTracer(trace.Tracer):
    """`tracer`, with the parents and kinds of `Provider`."""

    def __init__(self, tracer: trace.Tracer, root: Root, is_entry: IsEntry) -> None:
        self._tracer = tracer
        self._root = root
        self._is_entry = is_entry

    def start_span(
        self, name: str, context: Context | None = None, *args: Any, **settings: Any
    ) -> trace.Span:
        parent = self._parent(context, settings)
        if self._is_entry(settings.get("attributes") or {}):
            settings["kind"] = trace.SpanKind.SERVER
        return self._tracer.start_span(name, parent, *args, **settings)

    def start_as_current_span(
        self, name: str, context: Context | None = None, *args: Any, **settings: Any
    ) -> Any:
        parent = self._parent(context, settings)
        return self._tracer.start_as_current_span(name, parent, *args, **settings)

    def _parent(self, context: Context | None, settings: Mapping[str, Any]) -> Context | None:
        if context is not None or trace.get_current_span().get_span_context().is_valid:
            return context
        return self._root(settings.get("attributes") or {})
