"""The outbox of records: events that are stored with a record's end, and sent to EventBridge.

An event is stored by the same update as the status that it announces, sent after it, and removed
once EventBridge has it, so it is sent at least once however the process ends. ADR 24 has the
alternatives.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

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
        accepted: set[int] = set()
        try:
            for batch in _batches(entries):
                refused = self._put(batch, entries, keys)
                accepted |= set(batch) - refused.keys()
                if refused:
                    code, why = next(iter(refused.values()))
                    raise StorageUnavailableError(
                        f"sending the events of {keys.label} failed: {code}: {why}",
                        f"They are sent again; check the event bus {self.bus}.",
                    )
        finally:
            # What EventBridge has accepted is not sent again because of what it has refused.
            if accepted:
                left = [entry for index, entry in enumerate(stored) if index not in accepted]
                self._keep(left, str(item.get("outboxId")), keys)
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

    def _put(
        self, batch: Sequence[int], entries: Sequence[OutboxEntry], keys: RecordKeys
    ) -> dict[int, tuple[str, str]]:
        """Send a batch of `entries`, by index; returns the error code and message of those that
        EventBridge refuses."""
        with storage_errors(f"sending the events of {keys.label}"):
            answer = self.client.put_events(
                Entries=[
                    {
                        "Source": SOURCE,
                        "DetailType": entries[index].detail_type.value,
                        "Detail": entries[index].detail,
                        "EventBusName": self.bus,
                    }
                    for index in batch
                ]
            )
        return {
            index: (result["ErrorCode"], result.get("ErrorMessage", ""))
            for index, result in zip(batch, answer["Entries"], strict=True)
            if "ErrorCode" in result
        }

    def _keep(self, left: Sequence[Mapping[str, Any]], outbox_id: str, keys: RecordKeys) -> None:
        """Keep only what is left, unless another run has added to it: then all is sent again."""
        update: dict[str, Any] = {"UpdateExpression": "REMOVE outbox, outboxId"}
        if left:
            # A new id, because the bridge may be sending the same events.
            update = {
                "UpdateExpression": "SET outbox = :left, outboxId = :id",
                "ExpressionAttributeValues": {":left": left, ":id": str(uuid4())},
            }
        with storage_errors(f"removing the sent events of {keys.label}"):
            try:
                self.table.update_item(
                    Key=keys.record, ConditionExpression=Attr("outboxId").eq(outbox_id), **update
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise


def outbox() -> Outbox:
    """The outbox of the settings' table."""
    return Outbox(records_table(), events_client(), settings().event_bus)


def _batches(entries: Sequence[OutboxEntry]) -> Iterator[list[int]]:
    """The indices of the entries of each request."""
    batch: list[int] = []
    for index, entry in enumerate(entries):
        size = len(entry.detail.encode()) + sum(len(entries[i].detail.encode()) for i in batch)
        if batch and (len(batch) == _MOST_ENTRIES or size > _MOST_BYTES):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
