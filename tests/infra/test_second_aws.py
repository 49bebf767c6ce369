"""The templates and the data path on moto, a second local AWS beside MiniStack.

Limitations of the two:

- moto 5.2 does not create alarms, topic policies or saved queries in a stack, fails if a condition
  omits a container, returns no outputs of a stack that a change set created, and does not know the
  address of a database or of Redis in a stack. Therefore `alarms.yaml`, `bridge.yaml`,
  `prefect-data.yaml`, `warm.yaml` and `make deploy` are tested only on MiniStack.
- MiniStack 1.5 does not create alarms with metric math, saved queries or the scaling of a service;
  `emulated_aws.py` adds them.
- Neither evaluates metric math, metric filters of JSON log lines or the conditions of IAM policies,
  and neither has the quotas of Fargate.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from clipflow.domain.clips import ClipStatus
from clipflow.domain.errors import Failure, MachineLostError, OwnershipLostError
from clipflow.domain.keys import ClipKeys
from clipflow.storage.objects import ObjectStore
from clipflow.storage.records import RecordStore
from tests.infra.templates import ORDER, deploy
from tests.programs import AWS, Program, eventually, free_port

pytestmark = pytest.mark.slow
ONLY_MINISTACK = {"alarms", "bridge", "prefect-data", "warm"}
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prefect-abcdef"


class Moto(Program):
    """The server of moto as a separate process."""

    def __init__(self, home: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = f"moto.server -H 127.0.0.1 -p {port}"
        super().__init__(home / "moto.log", command, dict(AWS), f"{self.url}/moto-api/data.json")

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.url)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in AWS.items():
            patch.setenv(name, value)
        program = Moto(tmp_path_factory.mktemp("moto"))
        program.start()
        yield program
        program.stop()


@pytest.fixture(scope="module")
def outputs(moto: Moto) -> dict[str, str]:
    """The outputs of all stacks, each of which is deployed with the outputs of earlier ones."""
    subnets = moto.client("ec2").describe_subnets()["Subnets"]
    group = moto.client("ec2").describe_security_groups()["SecurityGroups"][0]["GroupId"]
    certificate = moto.client("acm").request_certificate(DomainName="prefect.example.com")
    known = {
        "Image": "clipflow:1",
        "PrefectApiUrl": "https://prefect.example/api",
        "PrefectAuthSecretArn": SECRET,
        **dict.fromkeys(("PrefectDatabaseHost", "PrefectRedisHost", "PrefectLogGroup"), "x"),
        **dict.fromkeys(("PrefectPasswordSecretArn", "PrefectExecutionRoleArn"), SECRET),
        **dict.fromkeys(("PrefectBalancerGroup", "PrefectServerGroup"), group),
        "PrefectDomain": "prefect.example.com",
        "PrefectCertificateArn": certificate["CertificateArn"],
        "VpcId": subnets[0]["VpcId"],
        "Subnets": ",".join(subnet["SubnetId"] for subnet in subnets),
    }
    for name in ORDER:
        if name not in ONLY_MINISTACK:
            status, found = deploy(moto.client("cloudformation"), name, known)
            assert status == "CREATE_COMPLETE"
            known |= found
    return known


def test_the_outputs_of_the_stacks_are_the_settings_of_the_work_pools(
    outputs: dict[str, str],
) -> None:
    assert outputs["MediaRoleArn"] != outputs["TaskRoleArn"]
    assert outputs["ClusterName"] and outputs["FlowsLogGroup"] and outputs["Namespace"]


def test_an_event_reaches_the_queue(moto: Moto, outputs: dict[str, str]) -> None:
    detail = {"tenantId": "t", "episodeId": "e"}
    entry = {
        "Source": "nullcheck.clips",
        "DetailType": "Begin Clip Generation",
        "Detail": json.dumps(detail),
    }
    moto.client("events").put_events(Entries=[entry, {**entry, "Source": "somebody.else"}])
    received: list[Any] = []

    def receive() -> bool:
        answer = moto.client("sqs").receive_message(QueueUrl=outputs["QueueUrl"])
        received.extend(json.loads(message["Body"]) for message in answer.get("Messages", []))
        return bool(received)

    eventually(receive)
    assert [event["detail"] for event in received] == [detail]


def test_a_record_is_claimed_failed_and_found_in_progress(
    moto: Moto, outputs: dict[str, str]
) -> None:
    resource: Any = boto3.resource("dynamodb", endpoint_url=moto.url)
    records = RecordStore(resource.Table(outputs["TableName"]))
    keys = ClipKeys("t", "e", "c")
    assert records.claim(keys, "run-1", {"segments": []}).granted
    second = records.claim(keys, "run-2", None)
    assert (second.granted, second.owner) == (False, "run-1")
    assert records.owner(keys) == "run-1"
    failure = Failure.of(MachineLostError("It was lost."))
    with pytest.raises(OwnershipLostError):
        records.fail(keys, "run-2", failure)
    assert [found.keys for found in records.in_progress(datetime.now(UTC) + timedelta(days=1))] == [
        keys
    ]
    records.fail(keys, "run-1", failure)
    assert list(records.in_progress(datetime.now(UTC) + timedelta(days=1))) == []
    record = records.clip(keys)
    assert record and record.status == ClipStatus.FAILED


def test_an_object_is_stored_with_its_metadata(
    moto: Moto, outputs: dict[str, str], tmp_path: Path
) -> None:
    objects = ObjectStore(moto.client("s3"), outputs["BucketName"])
    objects.put_text("a page", "e/clips/c/index.html", {"made-from": "x"}, "text/html")
    head = objects.head("e/clips/c/index.html")
    assert head and head.size == 6 and head.metadata["made-from"] == "x"
    objects.download("e/clips/c/index.html", tmp_path / "page")
    assert (tmp_path / "page").read_text() == "a page"
