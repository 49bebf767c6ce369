"""`infra/data.yaml`, deployed into the local AWS: stored data, encryption, expiry and queues."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.local_stack.provision import TEMPLATE, deploy_data
from deployments.local_stack.stack_settings import StackError
from tests.deployments.stored_aws import StoredAws
from tests.infra.templates import resources
from tests.programs import AWS, eventually

pytestmark = pytest.mark.slow
KEY = {"pk": {"S": "tenant#episode"}, "sk": {"S": "clip#one"}}


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoredAws]:
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    aws = StoredAws(tmp_path)
    aws.start()
    yield aws
    aws.stop()


def changed(tmp_path: Path, old: str, new: str) -> Path:
    """A copy of the template in which `old` is replaced by `new`."""
    path = tmp_path / "changed.yaml"
    path.write_text(TEMPLATE.read_text().replace(old, new))
    assert path.read_text() != TEMPLATE.read_text()
    return path


def test_a_second_deployment_keeps_stored_data(aws: StoredAws, tmp_path: Path) -> None:
    outputs = deploy_data(aws.url)
    assert outputs["BucketName"] == "clipflow-media"
    assert outputs["TableName"] == "clipflow-records"
    assert outputs["QueueName"] == "clipflow-events"
    assert outputs["DeadLetterQueueName"] == "clipflow-events-dlq"
    aws.client("s3").put_object(Bucket="clipflow-media", Key="a", Body=b"picture")
    aws.client("dynamodb").put_item(TableName="clipflow-records", Item=KEY)

    assert deploy_data(aws.url) == outputs
    assert (
        deploy_data(aws.url, changed(tmp_path, "VisibilityTimeout: 60", "VisibilityTimeout: 90"))
        == outputs
    )

    queue = aws.client("sqs").get_queue_attributes(
        QueueUrl=outputs["QueueUrl"], AttributeNames=["All"]
    )
    assert queue["Attributes"]["VisibilityTimeout"] == "90"
    assert is_stored(aws)


def test_deletion_keeps_bucket_and_table(aws: StoredAws) -> None:
    deploy_data(aws.url)
    aws.client("s3").put_object(Bucket="clipflow-media", Key="a", Body=b"picture")
    aws.client("dynamodb").put_item(TableName="clipflow-records", Item=KEY)
    cloudformation = aws.client("cloudformation")
    cloudformation.delete_stack(StackName="clipflow-data")
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName="clipflow-data", WaiterConfig={"Delay": 1}
    )
    assert is_stored(aws)


def test_an_index_added_to_an_old_table_finds_records_in_progress(
    aws: StoredAws, tmp_path: Path
) -> None:
    index = re.compile(
        r"        - AttributeName: status\n.*?(?=      KeySchema:)"
        r"|      GlobalSecondaryIndexes:.*?(?=      PointInTime)",
        re.DOTALL,
    )
    before = tmp_path / "before.yaml"
    before.write_text(index.sub("", TEMPLATE.read_text()))
    deploy_data(aws.url, before)
    dynamodb = aws.client("dynamodb")
    table = dynamodb.describe_table(TableName="clipflow-records")["Table"]
    assert "GlobalSecondaryIndexes" not in table
    put_record(aws, "late", "Generation in Progress", "2025-01-15T10:43:00Z")

    deploy_data(aws.url)

    put_record(aws, "early", "Generation in Progress", "2025-01-15T10:42:00Z")
    put_record(aws, "done", "Generation Complete", "2025-01-15T10:41:00Z")
    dynamodb.put_item(TableName="clipflow-records", Item={**KEY, "sk": {"S": "track#main"}})
    found = dynamodb.query(
        TableName="clipflow-records",
        IndexName="by-status",
        KeyConditionExpression="#status = :status AND updatedAt < :before",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={
            ":status": {"S": "Generation in Progress"},
            ":before": {"S": "2025-01-15T10:44:00Z"},
        },
    )["Items"]
    assert [item["sk"]["S"] for item in found] == ["early", "late"]
    assert set(found[0]) == {"pk", "sk", "status", "updatedAt", "flowRunId"}


def test_stored_data_is_encrypted_private_and_restorable() -> None:
    (bucket,) = resources("data", "AWS::S3::Bucket").values()
    (table,) = resources("data", "AWS::DynamoDB::Table").values()
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    algorithm = encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"]
    assert algorithm == ["HasMediaKey", "aws:kms", "AES256"]
    (policy,) = resources("data", "AWS::S3::BucketPolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {"true"}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert table["SSESpecification"] == {"SSEEnabled": "true"}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": "true"}
    for queue in resources("data", "AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] == "true"


def test_only_objects_with_the_tag_of_a_segment_expire() -> None:
    (bucket,) = resources("data", "AWS::S3::Bucket").values()
    _, (condition, segments, otherwise) = bucket["LifecycleConfiguration"]["Rules"]
    assert (condition, otherwise) == ("ExpireSegments", "AWS::NoValue")
    assert segments["TagFilters"] == [{"Key": "kind", "Value": "segment"}]
    assert segments["ExpirationInDays"] == "SegmentDays"


def test_only_events_of_the_configured_source_and_type_reach_the_queue(aws: StoredAws) -> None:
    url = deploy_data(aws.url)["QueueUrl"]
    entries = [
        entry("somebody.else", "Begin Clip Generation", 1),
        entry("nullcheck.clips", "End Clip Generation", 2),
        entry("nullcheck.clips", "Begin Clip Generation", 3),
    ]
    aws.client("events").put_events(Entries=entries)
    received: list[Any] = []

    def receive() -> bool:
        answer = aws.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        received.extend(json.loads(message["Body"]) for message in answer.get("Messages", []))
        return bool(received)

    eventually(receive)
    assert [event["detail"] for event in received] == [{"n": 3}]


def test_a_message_received_too_often_is_dead_lettered(aws: StoredAws, tmp_path: Path) -> None:
    outputs = deploy_data(
        aws.url, changed(tmp_path, "VisibilityTimeout: 60", "VisibilityTimeout: 0")
    )
    sqs = aws.client("sqs")
    sqs.send_message(QueueUrl=outputs["QueueUrl"], MessageBody="invalid")
    for _ in range(10):
        assert sqs.receive_message(QueueUrl=outputs["QueueUrl"])["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=outputs["QueueUrl"])
    (dead,) = sqs.receive_message(QueueUrl=outputs["DeadLetterQueueUrl"])["Messages"]
    assert dead["Body"] == "invalid"


def test_without_parameters_names_are_generated_by_the_stack(aws: StoredAws) -> None:
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(StackName="Studio-1", TemplateBody=TEMPLATE.read_text())
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="Studio-1", WaiterConfig={"Delay": 1}
    )
    (stack,) = cloudformation.describe_stacks(StackName="Studio-1")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    names = ("BucketName", "TableName", "QueueName", "DeadLetterQueueName")
    assert all(outputs[name].lower().startswith("studio-1-") for name in names)


def test_a_template_that_failed_can_be_fixed(aws: StoredAws, tmp_path: Path) -> None:
    broken = changed(tmp_path, "VisibilityTimeout: 60", "VisibilityTimeout: 99999")
    with pytest.raises(StackError, match="Events"):
        deploy_data(aws.url, broken)
    assert deploy_data(aws.url)["QueueName"] == "clipflow-events"


def entry(source: str, kind: str, number: int) -> dict[str, str]:
    return {"Source": source, "DetailType": kind, "Detail": json.dumps({"n": number})}


def put_record(aws: StoredAws, name: str, status: str, updated_at: str) -> None:
    attributes = {"status": status, "updatedAt": updated_at, "flowRunId": "run", "title": "x"}
    item = {**KEY, "sk": {"S": name}, **{key: {"S": value} for key, value in attributes.items()}}
    aws.client("dynamodb").put_item(TableName="clipflow-records", Item=item)


def is_stored(aws: StoredAws) -> bool:
    """Whether the object and the record that a test stored are still there."""
    body = aws.client("s3").get_object(Bucket="clipflow-media", Key="a")["Body"].read()
    item = aws.client("dynamodb").get_item(TableName="clipflow-records", Key=KEY)
    return bool(body == b"picture" and item["Item"] == KEY)
