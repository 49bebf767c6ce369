"""Status records in DynamoDB: every read and every write of one."""

from collections.abc import Iterator, Mapping
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
from clipflow.storage.aws import error_code, records_table, storage_errors
from clipflow.telemetry.logging import CONTEXT_FIELDS, RECORD_COMPLETE, RECORD_FAILED, emit_metric

if TYPE_CHECKING:
    from types_boto3_dynamodb.service_resource import Table

# The index of infra/data.yaml, by `status` and `updatedAt`.
BY_STATUS = "by-status"


@dataclass(frozen=True)
class Claim:
    """Whether a run may work on a record; if not, `owner` is the run that is working on it."""

    granted: bool
    owner: str | None = None


@dataclass(frozen=True)
class ClaimedRecord:
    """A record that a run has claimed and not finished; `since` as the record has it."""

    keys: RecordKeys
    owner: str
    since: str


@dataclass(frozen=True)
class RecordStore:
    """The records of clips and tracks. Every method raises StorageUnavailableError if DynamoDB
    does not answer as it should."""

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
        owner = self._item(keys).get("flowRunId")
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
    ) -> Claim:
        """Set In Progress: make `run_id` the record's owner, unless another run is working on it.

        `initial_attributes` are set where the record has none of that name. A second claim of the
        same run is granted and changes nothing. Raises InvalidInputError if there is no record
        and no `initial_attributes` to create one from.
        """
        attributes = None if initial_attributes is None else _decimals(initial_attributes)
        update = transitions.claim(run_id, _now(), attributes, dead_owner)
        old = self._apply(keys, update)
        if old is None:
            return Claim(granted=True)
        if not old:
            raise InvalidInputError(
                f"There is no record of {keys.label}, and no segments to create one from.",
                "Write the record first, or put the clip's segments into the event.",
            )
        owner = str(old.get("flowRunId", ""))
        return Claim(granted=owner == run_id, owner=owner)

    def complete(self, keys: RecordKeys, run_id: str, result: Model) -> None:
        """Set Complete. Raises OwnershipLostError if another run owns the record by now."""
        now = _now()
        events = result_events.completed(keys, run_id, now, result, self._etags(keys))
        self._finish(keys, transitions.complete(run_id, now, _attributes(result), events), run_id)

    def fail(
        self, keys: RecordKeys, run_id: str, failure: Failure, result: Model | None = None
    ) -> None:
        """Set Failed. Raises OwnershipLostError if another run owns the record by now."""
        now = _now()
        events = result_events.failed(keys, run_id, now, failure, result, self._etags(keys))
        update = transitions.fail(run_id, now, failure, _attributes(result), events)
        self._finish(keys, update, run_id)

    def fail_unclaimed(self, keys: RecordKeys, run_id: str, failure: Failure) -> bool:
        """Set Failed, by a run that ended before it claimed the record. Returns whether it did:
        False if there is no record, or another run has claimed it."""
        now = _now()
        events = result_events.failed(keys, run_id, now, failure)
        update = transitions.fail_unclaimed(run_id, now, failure, events)
        return self._apply(keys, update) is None

    def is_unclaimed(self, keys: RecordKeys) -> bool:
        """Whether no run has claimed the record yet; also true where there is no record."""
        return self._item(keys).get("status") in (None, ClipStatus.DETECTED, ClipStatus.PENDING)

    def in_progress(self, before: datetime) -> Iterator[ClaimedRecord]:
        """Every record that has been in progress since before then, the longest first.

        Read from an index, which may be some seconds behind the table.
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
        """The item as it is; empty if there is none."""
        with storage_errors(f"reading the record of {keys.label}"):
            return self.table.get_item(Key=keys.record, ConsistentRead=True).get("Item", {})

    def _finish(self, keys: RecordKeys, update: transitions.Update, run_id: str) -> None:
        old = self._apply(keys, update)
        if old is None:
            return
        # The SDK tries again when DynamoDB's answer is lost, so the write may have been done
        # already.
        if old.get("flowRunId") == run_id and old.get("status") == update.sets["status"]:
            return
        raise OwnershipLostError(
            f"The record of {keys.label} belongs to run {old.get('flowRunId')} and is "
            f"{old.get('status')!r}: nothing was changed."
        )

    def _apply(self, keys: RecordKeys, update: transitions.Update) -> Mapping[str, Any] | None:
        """None when written; else, where the condition did not hold, the item as it is."""
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
    """DynamoDB's Decimals as int or float, so that a model sees what JSON would show."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {key: plain(entry) for key, entry in value.items()}
        case list():
            return [plain(entry) for entry in value]
    return value


def _attributes(model: Model | None) -> dict[str, Any]:
    """The model as DynamoDB takes it, without what is None."""
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
    """The table of the settings."""
    return RecordStore(records_table())


def _emit_record_metric(
    keys: RecordKeys, written: Mapping[str, Any], before: Mapping[str, Any]
) -> None:
    """Emit the metric of an update: `written` is what it set, `before` what it replaced."""
    about = {
        "job": "clips" if isinstance(keys, ClipKeys) else "shorts",
        **{name: value for name in CONTEXT_FIELDS if (value := getattr(keys, name, None))},
    }
    if written["status"] == ClipStatus.COMPLETE:
        seconds, size = _seconds(before.get("updatedAt"), written["updatedAt"]), _bytes(written)
        message = f"{keys.label} is complete after {seconds} s: {size} bytes."
        emit_metric(RECORD_COMPLETE, message, seconds=seconds, bytes=size, **about)
    elif written["status"] == ClipStatus.FAILED:
        error = written["processingError"]
        message = f"{keys.label} failed: {error['message']}"
        emit_metric(RECORD_FAILED, message, code=str(error["code"]), **about)


def _seconds(claimed: object, over: str) -> int:
    """Seconds between two times of a record, which are written to the second."""
    if not isinstance(claimed, str):
        return 0
    passed = datetime.fromisoformat(over) - datetime.fromisoformat(claimed)
    return max(0, round(passed.total_seconds()))


def _bytes(made: Mapping[str, Any]) -> int:
    """The size of the clip, or of all shorts that were made."""
    sizes = [made.get("fileSize"), *(short.get("fileSize") for short in made.get("shorts", []))]
    return sum(int(size) for size in sizes if size)
