"""`make deploy` and the data path on moto, a second local AWS beside MiniStack.

`second_aws.py` has what moto lacks, and `infra/README.md` what only one of the two does.
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
from tests.deployments.test_operate import USER_SETTINGS, WORKERS, run_verb
from tests.infra.templates import ORDER, deploy
from tests.programs import AWS, PrefectServer, Program, eventually, free_port

pytestmark = pytest.mark.slow
# A Prefect server of one's own needs more of RDS than moto has in a stack.
PREFECT = ("prefect-data", "prefect-server")


class Moto(Program):
    """The server of moto, with additions, as a separate process."""

    def __init__(self, home: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = f"tests.infra.second_aws -H 127.0.0.1 -p {port}"
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
def settings(moto: Moto, prefect_server: PrefectServer) -> dict[str, str]:
    """The settings of a user of this account before the first `make deploy`."""
    subnets = moto.client("ec2").describe_subnets()["Subnets"]
    return {
        **USER_SETTINGS,
        "AWS_ENDPOINT_URL": moto.url,
        "PREFECT_API_URL": prefect_server.url,
        "CLIPFLOW_VPC_ID": subnets[0]["VpcId"],
        "CLIPFLOW_SUBNETS": ",".join(subnet["SubnetId"] for subnet in subnets),
        "CLIPFLOW_ALARM_EMAIL": "somebody@example.com",
        "CLIPFLOW_WARM_MACHINES": "1-4",
    }


@pytest.fixture(scope="module")
def deployed(settings: dict[str, str]) -> str:
    """The output of the first `make deploy`."""
    return run_verb(settings, "deploy")


@pytest.fixture(scope="module")
def outputs(moto: Moto, deployed: str) -> dict[str, str]:
    """The outputs of all stacks."""
    found = moto.client("cloudformation").describe_stacks()["Stacks"]
    every = [output for stack in found for output in stack.get("Outputs", [])]
    return {output["OutputKey"]: output["OutputValue"] for output in every}


def test_an_account_is_deployed_and_changed(
    moto: Moto, settings: dict[str, str], deployed: str
) -> None:
    assert "the service-linked role of ECS: new" in deployed
    assert "Deployment 'generate-shorts/clipflow'" in deployed
    found = moto.client("cloudformation").describe_stacks()["Stacks"]
    names = {stack["StackName"] for stack in found}
    assert names == {f"clipflow-{name}" for name in ORDER if name not in PREFECT} | WORKERS
    assert {stack["StackStatus"] for stack in found} == {"CREATE_COMPLETE"}

    plan = run_verb(settings, "deploy", "--dry-run")
    assert {f"{name}: unchanged" for name in names} <= set(plan.splitlines())
    run_verb({**settings, "CLIPFLOW_IMAGE": "clipflow:2"}, "deploy")
    found = moto.client("cloudformation").describe_stacks()["Stacks"]
    changed = {each["StackName"] for each in found if each["StackStatus"] == "UPDATE_COMPLETE"}
    assert changed == {"clipflow-bridge", "clipflow-warm"} | WORKERS


def test_the_stack_of_a_prefect_server_is_created(
    moto: Moto, settings: dict[str, str], outputs: dict[str, str]
) -> None:
    """With placeholders for the outputs of `prefect-data`."""
    group = moto.client("ec2").describe_security_groups()["SecurityGroups"][0]["GroupId"]
    certificate = moto.client("acm").request_certificate(DomainName="prefect.example.com")
    role = outputs["TaskRoleArn"]
    known = {
        **outputs,
        "Image": "clipflow:1",
        **dict.fromkeys(("PrefectDatabaseHost", "PrefectRedisHost", "PrefectLogGroup"), "x"),
        **dict.fromkeys(("PrefectAuthSecretArn", "PrefectPasswordSecretArn"), role),
        **dict.fromkeys(("PrefectBalancerGroup", "PrefectServerGroup"), group),
        "PrefectExecutionRoleArn": role,
        "PrefectDomain": "prefect.example.com",
        "PrefectCertificateArn": certificate["CertificateArn"],
        "VpcId": settings["CLIPFLOW_VPC_ID"],
        "Subnets": settings["CLIPFLOW_SUBNETS"],
    }
    status, _ = deploy(moto.client("cloudformation"), "prefect-server", known, "own")
    assert status == "CREATE_COMPLETE"


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


def test_an_account_is_destroyed_except_for_its_data(
    moto: Moto, settings: dict[str, str], outputs: dict[str, str]
) -> None:
    output = run_verb({**settings, "CONFIRM": "yes"}, "destroy")
    assert "automations deleted: 2" in output
    assert f"Kept: BUCKET_NAME={outputs['BucketName']}" in output
    found = moto.client("cloudformation").describe_stacks()["Stacks"]
    assert not [each for each in found if each["StackName"].startswith("clipflow-")]
    assert moto.client("dynamodb").list_tables()["TableNames"] == [outputs["TableName"]]
