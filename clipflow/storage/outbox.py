"""The outbox of records: events that are stored with a record's end, and sent to EventBridge.

An event is stored by the same update as the status that it announces, sent after it, and removed
once EventBridge has it, so it is sent at least once however the process ends. ADR 24 has the
alternatives.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError

from clipflow.domain.errors import StorageUnavailableError
from clipflow.domain.keys import RecordKeys, record_keys
from clipflow.domain.result_events import SOURCE, OutboxEntry
from clipflow.settings import settings
from clipflow.storage.aws import error_code, events_client, records_table, storage_errors

if TYPE_CHECKING:
    from types_boto3_dynamodb.service_resource import Table
    from types_boto3_events.client import EventBridgeClient

# The index of infra/data.yaml that lists only records with an `outboxId`.
BY_OUTBOX = "by-outbox"
# PutEvents takes at most 10 entries, of 256 KB in all (Amazon EventBridge quotas). A detail of 200
# shorts is about 50 KB, and each rendered one less than 4 KB.
_MOST_ENTRIES = 10
_MOST_BYTES = 240_000


@dataclass(frozen=True)
class Outbox:
    """Access to the unsent events of a table's records, and to the bus that they are sent to."""

    table: "Table"
    client: "EventBridgeClient"
    bus: str

    def send(self, keys: RecordKeys) -> int:
        """Send the record's unsent events; returns how many.

        Raises StorageUnavailableError or StorageRefusedError if EventBridge or DynamoDB does not
        take them; then they stay in the record.
        """
        with storage_errors(f"reading the unsent events of {keys.label}"):
            item = self.table.get_item(Key=keys.record, ConsistentRead=True).get("Item", {})
        stored = item.get("outbox")
        if not isinstance(stored, list) or not stored:
            return 0
        entries = [OutboxEntry.read(entry, f"the outbox of {keys.label}") for entry in stored]
        for batch in _batches(entries):
            self._put(batch, keys)
        self._remove(keys, str(item.get("outboxId")))
        return len(entries)

    def unsent(self, before: str) -> Iterator[RecordKeys]:
        """The records that have had unsent events since before then, in no order.

        Read from an index, which may be some seconds behind the table.
        """
        condition = Attr("updatedAt").lt(before)
        arguments: dict[str, Any] = {}
        while True:
            with storage_errors("listing records with unsent events"):
                page = self.table.scan(IndexName=BY_OUTBOX, FilterExpression=condition, **arguments)
            for item in page["Items"]:
                if keys := record_keys(str(item["pk"]), str(item["sk"])):
                    yield keys
            if "LastEvaluatedKey" not in page:
                return
            arguments = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _put(self, batch: Sequence[OutboxEntry], keys: RecordKeys) -> None:
        doing = f"sending the events of {keys.label}"
        with storage_errors(doing):
            answer = self.client.put_events(
                Entries=[
                    {
                        "Source": SOURCE,
                        "DetailType": entry.detail_type.value,
                        "Detail": entry.detail,
                        "EventBusName": self.bus,
                    }
                    for entry in batch
                ]
            )
        if answer["FailedEntryCount"]:
            [first, *_] = [entry for entry in answer["Entries"] if "ErrorCode" in entry]
            raise StorageUnavailableError(
                f"{doing} failed: {first['ErrorCode']}: {first.get('ErrorMessage', '')}",
                f"They are sent again; check the event bus {self.bus}.",
            )

    def _remove(self, keys: RecordKeys, outbox_id: str) -> None:
        """Remove what was sent, unless another run has added to it: that is sent again with it."""
        with storage_errors(f"removing the sent events of {keys.label}"):
            try:
                self.table.update_item(
                    Key=keys.record,
                    UpdateExpression="REMOVE outbox, outboxId",
                    ConditionExpression=Attr("outboxId").eq(outbox_id),
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise


def outbox() -> Outbox:
    """The outbox of the settings' table."""
    return Outbox(records_table(), events_client(), settings().event_bus)


def _batches(entries: Sequence[OutboxEntry]) -> Iterator[list[OutboxEntry]]:
    batch: list[OutboxEntry] = []
    for entry in entries:
        size = sum(len(other.detail.encode()) for other in (*batch, entry))
        if batch and (len(batch) == _MOST_ENTRIES or size > _MOST_BYTES):
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch
