"""Log lines and spans as Prefect has them: what is known of the run, and where both go."""

import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from opentelemetry import trace
from opentelemetry.context import Context
from prefect.logging.handlers import PrefectConsoleHandler

from clipflow.domain.events import TracePlace, event_place
from clipflow.telemetry import tracing
from clipflow.telemetry.logging import CONTEXT, JsonLines

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, Span
    from prefect.client.schemas.objects import FlowRun

logger = logging.getLogger(__name__)
# Under this Prefect hands a trace on (prefect.telemetry, not to be imported while Prefect is).
_TRACEPARENT = "__OTEL_TRACEPARENT"
_IDS = ("tenant_id", "episode_id", "clip_id", "user_id", "video_id")
# Ids by run, for what is said of a run outside of it: of its end, and by threads that watch it.
_seen: dict[str, dict[str, str]] = {}
_MOST_SEEN = 1000
_RETRIES = "clipflow.retries"


class Console(PrefectConsoleHandler):
    """Prefect's own console handler on a terminal; elsewhere lines of JSON.

    PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS names it, so that the first line is one already.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._lines = None if self.stream.isatty() else JsonLines(known)

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines is None:
            super().emit(record)
            return
        try:
            self.stream.write(self._lines.format(record) + "\n")
            self.flush()
        except Exception:  # noqa: BLE001 - as every handler does: a line that fails ends no run
            self.handleError(record)


def known(record: logging.LogRecord) -> dict[str, str]:
    """What a line can say of the work it belongs to."""
    about = {
        # What Prefect says of a run outside of it, it says with these.
        "run_id": getattr(record, "flow_run_id", None),
        "step": getattr(record, "task_run_name", None),
        **of_run(),
        **of_step(),
    }
    told = {**_seen.get(str(about["run_id"]), {}), **about}
    told["trace_id"] = told.get("trace_id") or tracing.current_trace()
    return {name: str(told[name]) for name in CONTEXT if told.get(name)}


def of_run() -> dict[str, str]:
    """The flow run that this is a part of, and what it works on; empty outside of one."""
    context = _context("FlowRunContext")
    run = context.flow_run if context else None
    if run is None:
        return {}
    ids = {"run_id": str(run.id), **_ids(context.parameters or {})}
    if at := TracePlace.read(run.labels.get(_TRACEPARENT)):
        ids["trace_id"] = at.trace_id
    if len(_seen) >= _MOST_SEEN:
        _seen.clear()
    _seen[ids["run_id"]] = ids
    return ids


def of_step() -> dict[str, str]:
    """The task run that this is a part of, and what it works on beyond its flow."""
    context = _context("TaskRunContext")
    if context is None:
        return {}
    held = [vars(value) for value in context.parameters.values() if hasattr(value, "__dict__")]
    ids = {name: id for holder in [*held, context.parameters] for name, id in _ids(holder).items()}
    return {**ids, "step": str(context.task_run.name)}


def retries() -> int:
    """How often the task that this is a part of has been tried before."""
    context = _context("TaskRunContext")
    return max(0, context.task_run.run_count - 1) if context else 0


def trace_runs() -> None:
    """Export the spans of this process's runs to the environment's collector, if it names one."""
    tracing.set_up(on_start=describe_span, is_last=is_flow_span, root=event_of)


def describe_span(span: "Span", above: trace.Span) -> None:
    """Set the ids of the run, the step and what they work on, and the step's number of retries.

    Prefect opens a run's span before it knows the run's parameters, and a step's before its name
    and tries. So the first span below each of them sets those attributes on the span `above`.
    """
    run, step = of_run(), of_step()
    above.set_attributes(tracing.named(run))
    span.set_attributes(tracing.named({**run, **step}))
    if not step:
        return
    span.set_attribute(_RETRIES, retries())
    scope = span.instrumentation_scope
    if scope is not None and scope.name == tracing.TRACER:
        above.set_attributes({**tracing.named(step), _RETRIES: retries()})


def is_flow_span(span: "ReadableSpan") -> bool:
    """Whether the span is that of a whole flow run, after which the process may be killed."""
    return (span.attributes or {}).get("prefect.run.type") == "flow"


def event_of(attributes: Mapping[str, Any]) -> Context | None:
    """What the span of a flow run is below, where an event asked for it: the event's own span."""
    asked = {name.rpartition(".")[2] for name in attributes}
    if attributes.get("prefect.run.type") != "flow" or "event_id" not in asked:
        return None
    from prefect import get_client

    try:
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(UUID(str(attributes["prefect.run.id"])))
    except httpx.HTTPError as error:
        logger.warning("The run's event is not in its trace: %s", error)
        return None
    at = place_of(run.parameters)
    return tracing.context_of(at) if at else None


def trace_labels(run: "FlowRun") -> dict[str, str]:
    """What hands the run's trace on to a run that it asks for; where it has none, its event's."""
    at = place_of(run.parameters)
    traceparent = run.labels.get(_TRACEPARENT) or (at and at.traceparent)
    return {_TRACEPARENT: str(traceparent)} if traceparent else {}


def place_of(parameters: Mapping[str, Any]) -> TracePlace | None:
    """Where the event's span is: told by the bridge, else known by the event's id."""
    told = TracePlace.read(parameters.get("traceparent"))
    if told:
        return told
    try:
        return event_place(UUID(str(parameters.get("event_id"))))
    except ValueError:
        return None


def _context(name: str) -> Any:
    # Prefect's first lines come while it is imported, before there is any run.
    module = sys.modules.get("prefect.context")
    kind = getattr(module, name, None)
    return kind.get() if kind else None


def _ids(holder: Mapping[str, Any]) -> dict[str, str]:
    return {name: holder[name] for name in _IDS if isinstance(holder.get(name), str)}
