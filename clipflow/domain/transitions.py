"""The status record's transitions, each as the arguments of one conditional DynamoDB update.

The condition is the record's owner (`flowRunId`): a run claims the record, and only that run may
complete or fail it. Each update appends to the history, which it creates if necessary.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from clipflow.domain.clips import ClipStatus
from clipflow.domain.errors import Failure
from clipflow.domain.result_events import OutboxEntry


@dataclass(frozen=True)
class Update:
    """The parts of an UpdateItem, without table and key."""

    sets: dict[str, Any]
    condition: str
    removes: tuple[str, ...] = ()
    only_if_absent: dict[str, Any] = field(default_factory=dict)
    outbox: Sequence[Mapping[str, str]] = ()
    history: dict[str, str] = field(default_factory=dict)
    compares: dict[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """The arguments for `update_item` of boto3's Table."""
        assignments = [f"#{name} = :{name}" for name in self.sets]
        assignments += [f"#{n} = if_not_exists(#{n}, :{n})" for n in self.only_if_absent]
        assignments += [
            "#statusHistory = list_append(if_not_exists(#statusHistory, :none), :entry)"
        ]
        if self.outbox:
            # Events of an earlier run may still be in it.
            assignments += ["#outbox = list_append(if_not_exists(#outbox, :none), :events)"]
        expression = "SET " + ", ".join(assignments)
        if self.removes:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in self.removes)
        values = {**self.sets, **self.only_if_absent, **self.compares}
        return {
            "UpdateExpression": expression,
            "ConditionExpression": self.condition,
            # DynamoDB rejects names that are declared and not used.
            "ExpressionAttributeNames": {
                f"#{name}": name for name in re.findall(r"#(\w+)", f"{expression} {self.condition}")
            },
            "ExpressionAttributeValues": {
                **{f":{name}": value for name, value in values.items()},
                ":entry": [self.history],
                ":none": [],
                **({":events": [dict(event) for event in self.outbox]} if self.outbox else {}),
            },
        }


_OWNED = "#flowRunId = :owner AND #status = :inProgress"


def claim(
    run_id: str,
    now: str,
    initial_attributes: Mapping[str, Any] | None,
    dead_owner: str | None,
    completed_at: str | None = None,
) -> Update:
    """The update to `Generation in Progress`, owned by `run_id`, unless another run is active.

    `initial_attributes` are set if the record has no attributes with these names; without them the
    record must exist. `dead_owner` is a run that has ended, so its claim is void. `completed_at` is
    the `updatedAt` of the complete record that was read, or empty: a record that was completed
    since is not claimed.
    """
    free = "#status <> :inProgress OR attribute_not_exists(#flowRunId)"
    compares = {"inProgress": ClipStatus.IN_PROGRESS.value}
    if completed_at is not None:
        free = f"({free}) AND (#status <> :complete OR #updatedAt = :completedAt)"
        compares |= {"complete": ClipStatus.COMPLETE.value, "completedAt": completed_at}
    if dead_owner:
        free += " OR #flowRunId = :deadOwner"
        compares["deadOwner"] = dead_owner
    return Update(
        sets={
            "status": ClipStatus.IN_PROGRESS.value,
            "updatedAt": now,
            "flowRunId": run_id,
        },
        only_if_absent=dict(initial_attributes or {}),
        removes=("failedState",),  # of an earlier run
        history={"status": ClipStatus.IN_PROGRESS, "timestamp": now},
        compares=compares,
        condition=f"attribute_exists(#pk) AND ({free})"
        if initial_attributes is None
        else f"attribute_not_exists(#pk) OR {free}",
    )


def complete(
    run_id: str, now: str, made: Mapping[str, Any], events: Sequence[OutboxEntry]
) -> Update:
    """The update to `Generation Complete`, with the results and the events to send; removes an
    earlier failure."""
    return Update(
        sets={
            "status": ClipStatus.COMPLETE.value,
            "updatedAt": now,
            **made,
            **_unsent(run_id, now),
        },
        outbox=_stored(events),
        removes=("processingError", "failedState"),
        history={"status": ClipStatus.COMPLETE, "timestamp": now},
        compares={"owner": run_id, "inProgress": ClipStatus.IN_PROGRESS.value},
        condition=_OWNED,
    )


def fail(
    run_id: str,
    now: str,
    failure: Failure,
    made: Mapping[str, Any],
    events: Sequence[OutboxEntry],
) -> Update:
    """The update to `Generation Failed`, with the reason, any partial results and the events to
    send."""
    return Update(
        sets={**_failed(now, failure), **made, **_unsent(run_id, now)},
        outbox=_stored(events),
        history=_failed_entry(now, failure),
        compares={"owner": run_id, "inProgress": ClipStatus.IN_PROGRESS.value},
        condition=_OWNED,
    )


def fail_unclaimed(
    run_id: str, now: str, failure: Failure, events: Sequence[OutboxEntry]
) -> Update:
    """The update to `Generation Failed` for a run that ended before it claimed the record.

    It applies only if no run has claimed the record.
    """
    return Update(
        sets={**_failed(now, failure), "flowRunId": run_id, **_unsent(run_id, now)},
        outbox=_stored(events),
        history=_failed_entry(now, failure),
        compares={"detected": ClipStatus.DETECTED.value, "pending": ClipStatus.PENDING.value},
        condition="attribute_exists(#pk) AND (#status IN (:detected, :pending)"
        " OR attribute_not_exists(#status))",
    )


def _unsent(run_id: str, now: str) -> dict[str, str]:
    """The attribute that lists a record in the index of those with unsent events. Its value changes
    with each addition to the outbox, so that only what was sent is removed."""
    return {"outboxId": f"{run_id}:{now}"}


def _stored(events: Sequence[OutboxEntry]) -> list[dict[str, str]]:
    return [event.model_dump(mode="json") for event in events]


def _failed(now: str, failure: Failure) -> dict[str, Any]:
    error = {"message": failure.message, "timestamp": now, "code": failure.code.value}
    return {"status": ClipStatus.FAILED.value, "updatedAt": now, "processingError": error}


def _failed_entry(now: str, failure: Failure) -> dict[str, str]:
    return {"status": ClipStatus.FAILED, "timestamp": now, "error": failure.message}


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC, to the second: `2025-01-15T10:42:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
