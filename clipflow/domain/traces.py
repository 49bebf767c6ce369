"""Where a trace stands, as W3C's Trace Context writes it, and which place an event has in one."""

import hashlib
import re
from dataclasses import dataclass
from typing import Self
from uuid import UUID

# W3C Trace Context, 3.2: version, trace id, parent id, flags.
_W3C = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
# AWS X-Ray Developer Guide, tracing header: its trace id is W3C's in two parts, with a version.
_X_RAY = re.compile(r"(\w+)=([^;]+)")
_X_RAY_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_SPAN = re.compile(r"[0-9a-f]{16}")
_SAMPLED = 1


@dataclass(frozen=True)
class TracePlace:
    """One span of a trace: 32 and 16 hexadecimal digits, and whether anybody collects it."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """As W3C's header of that name has it."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"

    @classmethod
    def read(cls, header: object) -> Self | None:
        """What a `traceparent` or an `X-Amzn-Trace-Id` says; None where it says nothing usable."""
        if not isinstance(header, str):
            return None
        trace_id, span_id, sampled = _w3c(header) or _x_ray(header) or ("", "", False)
        usable = trace_id.strip("0") and span_id.strip("0")
        return cls(trace_id, span_id, sampled) if usable else None


def event_place(event_id: UUID, caller: TracePlace | None = None) -> TracePlace:
    """The place of an event's own span: in its caller's trace, else in a trace named by its id.

    Whoever has the event's id finds the same one, so nothing need carry it.
    """
    span_id = hashlib.sha256(event_id.bytes).hexdigest()[:16]
    if caller:
        return TracePlace(caller.trace_id, span_id, caller.sampled)
    return TracePlace(event_id.hex, span_id)


def _w3c(header: str) -> tuple[str, str, bool] | None:
    match = _W3C.fullmatch(header.strip().lower())
    return (match[1], match[2], bool(int(match[3], 16) & _SAMPLED)) if match else None


def _x_ray(header: str) -> tuple[str, str, bool] | None:
    told = dict(_X_RAY.findall(header))
    root = _X_RAY_ROOT.fullmatch(told.get("Root", "").lower())
    span_id = told.get("Parent", "").lower()
    if not root or not _SPAN.fullmatch(span_id):
        return None
    return root[1] + root[2], span_id, told.get("Sampled") != "0"
