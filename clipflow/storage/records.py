"""Status records in DynamoDB."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import ConditionBase, Key
from botocore.exceptions import ClientError

from clipflow.domain import result_events, transitions
from clipflow.domain.clips import DUE, ClipRecord, ClipStatus, InvalidTrack, TrackRecord, read_track
from clipflow.domain.errors import Failure, InvalidInputError, OwnershipLostError
from clipflow.domain.keys import (
    CLIP_SORT_PREFIX,
    TRACK_SORT_PREFIX,
    ClipKeys,
    RecordKeys,
    ShortsKeys,
    partition,
    record_keys,
)
from clipflow.domain.model import Model
from clipflow.domain.result_events import OutboxEntry
from clipflow.domain.shorts import ShortsResult, smaller_results
from clipflow.storage.aws import error_code, records_table, storage_errors
from clipflow.telemetry.logging import CONTEXT_FIELDS, RECORD_COMPLETE, RECORD_FAILED, emit_metric

if TYPE_CHECKING:
    from types_boto3_dynamodb.service_resource import Table

# The index of infra/data.yaml, by `status` and `updatedAt`.
BY_STATUS = "by-status"


@dataclass(frozen=True)
class Claim:
    """The result of a claim; if it was not granted, `owner` is the run that is working on the
    record, or that has completed it since it was read."""

    granted: bool
    owner: str | None = None
    is_complete: bool = False


@dataclass(frozen=True)
class ClaimedRecord:
    """A record that a run has claimed and not finished; `since` is its `updatedAt`."""

    keys: RecordKeys
    owner: str
    since: str


@dataclass(frozen=True)
class RecordStore:
    """The records of clips, shorts and tracks. Every method raises StorageUnavailableError if
    DynamoDB fails."""

    table: "Table"

    def clip(self, keys: ClipKeys) -> ClipRecord | None:
        """The clip's record, or None if there is none."""
        item = self._item(keys)
        return ClipRecord.read(plain(item), f"the record of {keys.label}") if item else None

    def shorts(self, keys: ShortsKeys) -> list[dict[str, Any]]:
        """The shorts in the video's record."""
        return list(plain(self._item(keys).get("shorts", [])))

    def owner(self, keys: RecordKeys) -> str | None:
        """The id of the flow run that last claimed the record; None if none has."""
        # Machines that decode media may read no other attribute (`infra/roles.yaml`).
        with storage_errors(f"reading the owner of {keys.label}"):
            found = self.table.get_item(
                Key=keys.record,
                ConsistentRead=True,
                ProjectionExpression="#flowRunId",
                ExpressionAttributeNames={"#flowRunId": "flowRunId"},
            )
        owner = found.get("Item", {}).get("flowRunId")
        return str(owner) if owner else None

    def tracks(self, tenant_id: str, episode_id: str) -> dict[str, TrackRecord | InvalidTrack]:
        """The episode's tracks by name."""
        items = self._query(tenant_id, episode_id, TRACK_SORT_PREFIX)
        names = ((str(item["sk"]).removeprefix(TRACK_SORT_PREFIX), item) for item in items)
        return {name: read_track(item, name) for name, item in names}

    def due_clips(self, tenant_id: str, episode_id: str) -> list[str]:
        """Ids of the episode's clips that are detected, pending or failed, in key order."""
        items = self._query(tenant_id, episode_id, CLIP_SORT_PREFIX)
        return [
            str(item["sk"]).removeprefix(CLIP_SORT_PREFIX)
            for item in items
            if item.get("status") in DUE
        ]

    def claim(
        self,
        keys: RecordKeys,
        run_id: str,
        initial_attributes: Mapping[str, Any] | None = None,
        dead_owner: str | None = None,
        completed_at: str | None = None,
    ) -> Claim:
        """Set In Progress: makes `run_id` the record's owner, unless another run is working on it.

        A second claim by the same run is granted and changes nothing.

        Args:
            initial_attributes: are set if the record has no attributes with these names.
            dead_owner: a run that has ended; its claim is replaced.
            completed_at: the `updatedAt` of the complete record that was read, empty if it was not
                complete. The claim is not granted if the record was completed since.

        Raises InvalidInputError if there is no record and no `initial_attributes` to create it.
        """
        attributes = None if initial_attributes is None else _decimals(initial_attributes)
        update = transitions.claim(run_id, _now(), attributes, dead_owner, completed_at)
        old = self._apply(keys, update)
        if old is None:
            return Claim(granted=True)
        if not old:
            raise InvalidInputError(
                f"There is no record of {keys.label}, and no segments to create one from.",
                "Write the record first, or put the clip's segments into the event.",
            )
        owner = str(old.get("flowRunId", ""))
        is_complete = old.get("status") == ClipStatus.COMPLETE.value
        is_own = owner == run_id and not is_complete
        return Claim(granted=is_own, owner=owner, is_complete=is_complete)

    def complete(self, keys: RecordKeys, run_id: str, result: Model) -> None:
        """Set Complete. Raises OwnershipLostError if another run owns the record now."""
        now = _now()
        already = self._etags(keys)
        attributes, events = _within_limits(
            result, lambda one: result_events.completed(keys, run_id, now, one, already)
        )
        self._finish(keys, transitions.complete(run_id, now, attributes, events), run_id)

    def fail(
        self, keys: RecordKeys, run_id: str, failure: Failure, result: Model | None = None
    ) -> None:
        """Set Failed. Raises OwnershipLostError if another run owns the record now."""
        now, already = _now(), self._etags(keys) if result else []
        attributes, events = _within_limits(
            result, lambda one: result_events.failed(keys, run_id, now, failure, one, already)
        )
        self._finish(keys, transitions.fail(run_id, now, failure, attributes, events), run_id)

    def fail_unclaimed(self, keys: RecordKeys, run_id: str, failure: Failure) -> bool:
        """Set Failed, for a run that ended before it claimed the record.

        Returns False, without a change, if there is no record or another run has claimed it.
        """
        now = _now()
        events = result_events.failed(keys, run_id, now, failure)
        update = transitions.fail_unclaimed(run_id, now, failure, events)
        return self._apply(keys, update) is None

    def is_unclaimed(self, keys: RecordKeys) -> bool:
        """Whether no run has claimed the record yet; also true without a record."""
        return self._item(keys).get("status") in (None, ClipStatus.DETECTED, ClipStatus.PENDING)

    def in_progress(self, before: datetime) -> Iterator[ClaimedRecord]:
        """The records that have been in progress since before `before`, oldest first.

        They are read from an index, which may be some seconds behind the table.
        """
        since = Key("updatedAt").lt(transitions.timestamp(before))
        condition = Key("status").eq(ClipStatus.IN_PROGRESS.value) & since
        for item in self._pages("listing what is in progress", condition, IndexName=BY_STATUS):
            keys = record_keys(str(item["pk"]), str(item["sk"]))
            if keys:
                yield ClaimedRecord(keys, str(item.get("flowRunId", "")), str(item["updatedAt"]))

    def _etags(self, keys: RecordKeys) -> list[str]:
        """The ETags of the shorts that the record lists already."""
        shorts = self.shorts(keys) if isinstance(keys, ShortsKeys) else []
        return [str(short["etag"]) for short in shorts if "etag" in short]

    def _item(self, keys: RecordKeys) -> Mapping[str, Any]:
        """The item with DynamoDB's types; empty if there is none."""
        with storage_errors(f"reading the record of {keys.label}"):
            return self.table.get_item(Key=keys.record, ConsistentRead=True).get("Item", {})

    def _finish(self, keys: RecordKeys, update: transitions.Update, run_id: str) -> None:
        old = self._apply(keys, update)
        if old is None:
            return
        # The SDK retries if DynamoDB's response is lost, so this write may already have been done.
        if old.get("flowRunId") == run_id and old.get("status") == update.sets["status"]:
            return
        raise OwnershipLostError(
            f"The record of {keys.label} belongs to run {old.get('flowRunId')} and is "
            f"{old.get('status')!r}: nothing was changed."
        )

    def _apply(self, keys: RecordKeys, update: transitions.Update) -> Mapping[str, Any] | None:
        """Writes an update. Returns None, or the current item if the condition is not met."""
        with storage_errors(f"updating the record of {keys.label}"):
            try:
                answer = self.table.update_item(
                    Key=keys.record, ReturnValues="UPDATED_OLD", **update.arguments()
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                return self._item(keys)
        _emit_record_metric(keys, update.sets, answer.get("Attributes", {}))
        return None

    def _query(self, tenant_id: str, episode_id: str, prefix: str) -> Iterator[dict[str, Any]]:
        condition = Key("pk").eq(partition(tenant_id, episode_id)) & Key("sk").begins_with(prefix)
        what = f"listing {prefix} records of episode {episode_id}"
        return self._pages(what, condition, ConsistentRead=True)

    def _pages(
        self, what: str, condition: ConditionBase, **arguments: Any
    ) -> Iterator[dict[str, Any]]:
        with storage_errors(what):
            while True:
                page = self.table.query(KeyConditionExpression=condition, **arguments)
                yield from (plain(item) for item in page["Items"])
                if "LastEvaluatedKey" not in page:
                    return
                arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def plain(value: Any) -> Any:
    """A value with DynamoDB's Decimals as int or float, as in JSON."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {key: plain(entry) for key, entry in value.items()}
        case list():
            return [plain(entry) for entry in value]
    return value


# Bytes of a result and its events in a record. An item of DynamoDB has at most 400 KB, of which the
# history of many runs needs some.
_MOST_BYTES = 320_000


def _within_limits(
    result: Model | None, events_of: Callable[[Any], list[OutboxEntry]]
) -> tuple[dict[str, Any], list[OutboxEntry]]:
    """The attributes of a result and its events, with less text if there is no room for all."""
    candidates = smaller_results(result) if isinstance(result, ShortsResult) else iter(())
    while True:
        attributes, events = _attributes(result), events_of(result)
        size = len(json.dumps(plain(attributes), ensure_ascii=False).encode())
        size += sum(len(event.detail.encode()) for event in events)
        smaller = next(candidates, None) if size > _MOST_BYTES else None
        if smaller is None:
            return attributes, events
        result = smaller


def _attributes(model: Model | None) -> dict[str, Any]:
    """The model's fields as DynamoDB attributes, without those that are None."""
    return _decimals(model.model_dump(mode="json", exclude_none=True)) if model else {}


def _decimals(value: Any) -> Any:
    match value:
        case float():
            return Decimal(str(value))
        case dict():
            return {key: _decimals(entry) for key, entry in value.items()}
        case list():
            return [_decimals(entry) for entry in value]
    return value


def _now() -> str:
    return transitions.timestamp(datetime.now(UTC))


def record_store() -> RecordStore:
    """The store of the table that the settings name."""
    return RecordStore(records_table())


def _emit_record_metric(
    keys: RecordKeys, written: Mapping[str, Any], before: Mapping[str, Any]
) -> None:
    """Emits the metric of an update: `written` are the new values, `before` the replaced ones."""
    context = {
        "job": "clips" if isinstance(keys, ClipKeys) else "shorts",
        **{name: value for name in CONTEXT_FIELDS if (value := getattr(keys, name, None))},
    }
    if written["status"] == ClipStatus.COMPLETE:
        seconds, size = _seconds(before.get("updatedAt"), written["updatedAt"]), _bytes(written)
        message = f"{keys.label} is complete after {seconds} s: {size} bytes."
        emit_metric(RECORD_COMPLETE, message, seconds=seconds, bytes=size, **context)
    elif written["status"] == ClipStatus.FAILED:
        error = written["processingError"]
        message = f"{keys.label} failed: {error['message']}"
        emit_metric(RECORD_FAILED, message, code=str(error["code"]), **context)


def _seconds(claimed: object, ended: str) -> int:
    """The seconds between two times of a record."""
    if not isinstance(claimed, str):
        return 0
    passed = datetime.fromisoformat(ended) - datetime.fromisoformat(claimed)
    return max(0, round(passed.total_seconds()))


def _bytes(made: Mapping[str, Any]) -> int:
    """The size of the clip, or of all shorts that were made, in bytes."""
    sizes = [made.get("fileSize"), *(short.get("fileSize") for short in made.get("shorts", []))]
    return sum(int(size) for size in sizes if size)
