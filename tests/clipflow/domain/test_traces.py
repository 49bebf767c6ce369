"""Trace contexts, read from `traceparent` and X-Ray headers and from events."""

from uuid import UUID

import pytest

from clipflow.domain.events import TRACEPARENT, TraceContext, event_trace_context, to_prefect_event

EVENT = UUID("5759e988-bd86-4e3f-a1be-46a994272793")
CALLER = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
BODY = (
    '{"id": "5759e988-bd86-4e3f-a1be-46a994272793", "source": "nullcheck.clips",'
    ' "detail-type": "Begin Clip Generation", "time": "2025-01-15T10:30:00Z",'
    ' "detail": {"tenantId": "t", "episodeId": "e"%s}}'
)


@pytest.mark.parametrize(
    "header",
    [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-03",
        "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1",
        "Self=1-1-1;Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7",
    ],
)
def test_a_trace_header_is_parsed(header: str) -> None:
    assert TraceContext.read(header) == CALLER


def test_a_trace_that_is_not_sampled_stays_unsampled() -> None:
    for header in (
        f"00-{CALLER.trace_id}-{CALLER.span_id}-00",
        "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=0",
    ):
        context = TraceContext.read(header)
        assert context and not context.sampled
        assert event_trace_context(EVENT, context).traceparent.endswith("-00")


@pytest.mark.parametrize(
    "header",
    [None, 7, "", "00-0-0-01", f"00-{'0' * 32}-{'1' * 16}-01", "Root=1-4bf92f35;Parent=x", "=;="],
)
def test_an_invalid_header_is_ignored(header: object) -> None:
    assert TraceContext.read(header) is None


def test_the_trace_id_of_an_event_is_its_own_id() -> None:
    context = event_trace_context(EVENT)
    assert context.trace_id == EVENT.hex
    assert TraceContext.read(context.traceparent) == context == event_trace_context(EVENT)


def test_an_event_continues_the_trace_of_its_caller() -> None:
    in_detail = BODY % f', "traceparent": "{CALLER.traceparent}"'
    header = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1"
    for event in (
        to_prefect_event(in_detail),
        to_prefect_event(BODY % f', "X-Amzn-Trace-Id": "{header}"'),
        to_prefect_event(BODY % "", header),
        to_prefect_event(BODY % ', "traceparent": "nonsense"', header),
    ):
        context = TraceContext.read(event.resource[TRACEPARENT])
        assert context == event_trace_context(EVENT, CALLER)
        assert context.trace_id == CALLER.trace_id and context.span_id != CALLER.span_id
    assert (
        to_prefect_event(BODY % "").resource[TRACEPARENT] == event_trace_context(EVENT).traceparent
    )
