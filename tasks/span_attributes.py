"""What every span says of the run it belongs to. It brings OpenTelemetry's SDK."""

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from clipflow.telemetry import tracing
from tasks.telemetry import of_run, of_step, retries

_RETRIES = "clipflow.retries"
# Milliseconds.
_PATIENCE = 3000


class RunAttributes(SpanProcessor):
    """The ids of run, step and what they work on, and how often the step was tried before."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        run, step = of_run(), of_step()
        above = trace.get_current_span(parent_context)
        # Prefect opens a run's span before it knows the run's parameters, and a step's before its
        # name and tries: what is opened below tells them.
        above.set_attributes(tracing.named(run))
        span.set_attributes(tracing.named({**run, **step}))
        if step:
            span.set_attribute(_RETRIES, retries())
        if step and is_ours(span):
            above.set_attributes({**tracing.named(step), _RETRIES: retries()})

    def on_end(self, span: ReadableSpan) -> None:
        """All that is known is sent when a run ends: one that is told to end dies of the signal."""
        provider = trace.get_tracer_provider()
        is_run = span.attributes and span.attributes.get("prefect.run.type") == "flow"
        if is_run and isinstance(provider, TracerProvider):
            provider.force_flush(_PATIENCE)


def is_ours(span: ReadableSpan) -> bool:
    """Whether the craft opened it, and not Prefect."""
    scope = span.instrumentation_scope
    return scope is not None and scope.name == tracing.TRACER
