"""Where a trace stands, as others write it."""

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
def test_a_header_names_its_sender(header: str) -> None:
    assert TraceContext.read(header) == CALLER


def test_a_trace_that_is_not_sampled_stays_unsampled() -> None:
    for header in (
        f"00-{CALLER.trace_id}-{CALLER.span_id}-00",
        "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=0",
    ):
        place = TraceContext.read(header)
        assert place and not place.sampled
        assert event_trace_context(EVENT, place).traceparent.endswith("-00")


@pytest.mark.parametrize(
    "header",
    [None, 7, "", "00-0-0-01", f"00-{'0' * 32}-{'1' * 16}-01", "Root=1-4bf92f35;Parent=x", "=;="],
)
def test_an_invalid_header_is_ignored(header: object) -> None:
    assert TraceContext.read(header) is None


def test_an_events_trace_is_named_by_its_id() -> None:
    place = event_trace_context(EVENT)
    assert place.trace_id == EVENT.hex
    assert TraceContext.read(place.traceparent) == place == event_trace_context(EVENT)


def test_an_event_with_a_caller_is_in_its_trace() -> None:
    in_detail = BODY % f', "traceparent": "{CALLER.traceparent}"'
    header = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1"
    for event in (
        to_prefect_event(in_detail),
        to_prefect_event(BODY % f', "X-Amzn-Trace-Id": "{header}"'),
        to_prefect_event(BODY % "", header),
        to_prefect_event(BODY % ', "traceparent": "nonsense"', header),
    ):
        place = TraceContext.read(event.resource[TRACEPARENT])
        assert place == event_trace_context(EVENT, CALLER)
        assert place.trace_id == CALLER.trace_id and place.span_id != CALLER.span_id
    assert (
        to_prefect_event(BODY % "").resource[TRACEPARENT] == event_trace_context(EVENT).traceparent
    )
