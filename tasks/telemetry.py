"""The ids in log lines and spans of runs, and the log handler and span hooks that add them."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from opentelemetry import trace
from opentelemetry.context import Context
from prefect.logging.handlers import PrefectConsoleHandler

from clipflow.domain.events import TraceContext, event_trace_context
from clipflow.telemetry import tracing
from clipflow.telemetry.logging import CONTEXT_FIELDS, JsonFormatter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, Span
    from prefect.client.schemas.objects import FlowRun

logger = logging.getLogger(__name__)
# The label by which Prefect continues a trace. It is defined in prefect.telemetry, which must not
# be imported while Prefect itself is being imported.
_TRACEPARENT = "__OTEL_TRACEPARENT"
_IDS = ("tenant_id", "episode_id", "clip_id", "user_id", "video_id")
# The ids by run, for log lines about a run that are logged outside of its context: at its end, and
# from threads.
_ids_by_run: dict[str, dict[str, str]] = {}
_MAX_RUNS = 1000
_RETRIES = "clipflow.retries"


class Console(PrefectConsoleHandler):
    """Prefect's own console handler on a terminal; elsewhere one line of JSON for each record.

    PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS names it, so that it handles even the first line.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._lines = None if self.stream.isatty() else JsonFormatter(line_context)

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines is None:
            super().emit(record)
            return
        try:
            self.stream.write(self._lines.format(record) + "\n")
            self.flush()
        except Exception:  # noqa: BLE001 - as in every handler, an error of logging ends no run
            self.handleError(record)


def line_context(record: logging.LogRecord) -> dict[str, str]:
    """The fields of a log line that identify the run, the step and their record."""
    own = {
        # Prefect sets these on the lines that it logs from outside of a run.
        "run_id": getattr(record, "flow_run_id", None),
        "step": getattr(record, "task_run_name", None),
        **run_ids(),
        **step_ids(),
    }
    fields = {**_ids_by_run.get(str(own["run_id"]), {}), **own}
    fields["trace_id"] = fields.get("trace_id") or tracing.current_trace_id()
    return {name: str(fields[name]) for name in CONTEXT_FIELDS if fields.get(name)}


def run_ids() -> dict[str, str]:
    """The ids of the current flow run and of its record; empty outside of a run."""
    context = _context("FlowRunContext")
    run = context.flow_run if context else None
    if run is None:
        return {}
    ids = {"run_id": str(run.id), **_ids(context.parameters or {})}
    if at := TraceContext.read(run.labels.get(_TRACEPARENT)):
        ids["trace_id"] = at.trace_id
    if len(_ids_by_run) >= _MAX_RUNS:
        _ids_by_run.clear()
    _ids_by_run[ids["run_id"]] = ids
    return ids


def step_ids() -> dict[str, str]:
    """The name of the current task run, and the ids in its arguments; empty outside of one."""
    context = _context("TaskRunContext")
    if context is None:
        return {}
    objects = [vars(value) for value in context.parameters.values() if hasattr(value, "__dict__")]
    ids = {
        name: id for holder in [*objects, context.parameters] for name, id in _ids(holder).items()
    }
    return {**ids, "step": str(context.task_run.name)}


def retries() -> int:
    """How often the current task run was tried before."""
    context = _context("TaskRunContext")
    return max(0, context.task_run.run_count - 1) if context else 0


def flow_of_entrypoint(entrypoint: str) -> str:
    """The name of a flow by its entrypoint in prefect.yaml: `flows.render_short:render_shorts`."""
    return entrypoint.rpartition(":")[2].replace("_", "-")


def trace_runs() -> None:
    """Export the spans of this process's runs to the environment's collector, if it names one."""
    # A process executes one flow, which its deployment names.
    flow = flow_of_entrypoint(os.environ.get("PREFECT__FLOW_ENTRYPOINT", ""))
    tracing.configure(
        tracing.service_of(flow) if flow else tracing.TRACER,
        on_start=describe_span,
        is_last=is_flow_span,
        root=event_context,
        is_entry=is_entry,
    )


def is_entry(attributes: Mapping[str, Any]) -> bool:
    """Whether the span is that of the process's own flow run, not of a flow that this one calls."""
    return attributes.get("prefect.run.type") == "flow" and _context("FlowRunContext") is None


@contextmanager
def calling(flow: str, labels: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A span for the start of a run of `flow`, below the run that has `labels`.

    Yields the labels of the new run.
    """
    with tracing.call(flow, TraceContext.read(labels.get(_TRACEPARENT))) as ids:
        yield {**labels, _TRACEPARENT: ids.traceparent} if ids else dict(labels)


@contextmanager
def calling_child(flow: str) -> Iterator[None]:
    """A span for `run_deployment`, which gives a child of this run the labels of the context."""
    context = _context("FlowRunContext")
    with tracing.call(flow) as ids, ExitStack() as changed:
        if ids and context and context.flow_run:
            labels = {**context.flow_run.labels, _TRACEPARENT: ids.traceparent}
            run = context.flow_run.model_copy(update={"labels": labels})
            changed.enter_context(context.model_copy(update={"flow_run": run}))
        yield


def describe_span(span: "Span", above: trace.Span) -> None:
    """Set the ids of the run, of the step and of their record, and the step's number of retries.

    Prefect opens a run's span before the run's parameters are available, and a step's span before
    its name and number of tries are. So the first span below each of them sets these attributes on
    its parent, `above`.
    """
    run, step = run_ids(), step_ids()
    above.set_attributes(tracing.context_attributes(run))
    span.set_attributes(tracing.context_attributes({**run, **step}))
    if not step:
        return
    span.set_attribute(_RETRIES, retries())
    scope = span.instrumentation_scope
    if scope is not None and scope.name == tracing.TRACER:
        above.set_attributes({**tracing.context_attributes(step), _RETRIES: retries()})


def is_flow_span(span: "ReadableSpan") -> bool:
    """Whether the span is that of a whole flow run, after which the process may be killed."""
    return (span.attributes or {}).get("prefect.run.type") == "flow"


def event_context(attributes: Mapping[str, Any]) -> Context | None:
    """The event's span, as the parent of the span of a flow run that an event has triggered."""
    parameters = {name.rpartition(".")[2] for name in attributes}
    if attributes.get("prefect.run.type") != "flow" or "event_id" not in parameters:
        return None
    from prefect import get_client

    try:
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(UUID(str(attributes["prefect.run.id"])))
    except httpx.HTTPError as error:
        logger.warning("The run is not in the trace of its event: %s", error)
        return None
    at = event_trace(run.parameters)
    return tracing.context_below(at) if at else None


def trace_labels(run: "FlowRun") -> dict[str, str]:
    """The labels by which a new run continues this run's trace, or else its event's."""
    at = event_trace(run.parameters)
    traceparent = run.labels.get(_TRACEPARENT) or (at and at.traceparent)
    return {_TRACEPARENT: str(traceparent)} if traceparent else {}


def event_trace(parameters: Mapping[str, Any]) -> TraceContext | None:
    """The event's span: that of the `traceparent` parameter, else the one derived from the id."""
    found = TraceContext.read(parameters.get("traceparent"))
    if found:
        return found
    try:
        return event_trace_context(UUID(str(parameters.get("event_id"))))
    except ValueError:
        return None


def _context(name: str) -> Any:
    # Prefect logs its first lines while it is imported, before there is any run.
    module = sys.modules.get("prefect.context")
    kind = getattr(module, name, None)
    return kind.get() if kind else None


def _ids(holder: Mapping[str, Any]) -> dict[str, str]:
    return {name: holder[name] for name in _IDS if isinstance(holder.get(name), str)}
