"""An OpenTelemetry collector for tests: OTLP over HTTP on loopback, stored in memory."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True)
class Collected:
    """One received span.

    Ids are hexadecimal, times are nanoseconds, `kind` is SERVER, CLIENT or INTERNAL, and `outcome`
    is the text of its status and events. It is read as a part of the span's `repr`, where a test
    looks for secrets.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    service: str
    attributes: dict[str, Any]
    began: int
    ended: int
    outcome: str
    kind: str

    @property
    def is_flow(self) -> bool:
        return self.attributes.get("prefect.run.type") == "flow"


@dataclass
class Collector:
    """The spans received so far."""

    endpoint: str = ""
    spans: list[Collected] = field(default_factory=list)

    def named(self, name: str) -> list[Collected]:
        """The spans whose names begin with `name`."""
        return [span for span in self.spans if span.name.startswith(name)]

    def ancestors(self, span: Collected) -> list[str]:
        """The names of the span's ancestors, starting with its parent."""
        by_id = {each.span_id: each for each in self.spans}
        parent = by_id.get(span.parent_id)
        return [parent.name, *self.ancestors(parent)] if parent else []

    def service_map(self) -> set[tuple[str, str]]:
        """The connections between services that X-Ray draws.

        Its exporter makes a service only of a span of the kind SERVER, and a remote call only of
        one of the kind CLIENT, which it names by `peer.service`.
        """
        by_id = {span.span_id: span for span in self.spans}
        calls = [(by_id.get(span.parent_id), span) for span in self.spans if span.kind == "SERVER"]
        return {
            (caller.service, called.service)
            for caller, called in calls
            if caller
            and caller.kind == "CLIENT"
            and caller.attributes["peer.service"] == called.service
        }

    def store(self, body: bytes) -> None:
        """Store the spans of one export."""
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_collected(span, str(service)) for span in scope.spans]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector, which listens at its `endpoint`."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            packed = self.headers.get("Content-Encoding") == "gzip"
            collector.store(gzip.decompress(body) if packed else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        collector.endpoint = f"http://127.0.0.1:{listener.server_port}"
        threading.Thread(target=listener.serve_forever).start()
        try:
            yield collector
        finally:
            listener.shutdown()


def _collected(span: Any, service: str) -> Collected:
    return Collected(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        service=service,
        attributes=_values(span.attributes),
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        outcome="".join(map(str, [span.status, *span.events])),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
