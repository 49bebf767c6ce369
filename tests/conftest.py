"""A local AWS and a Prefect server, each a real one, shared by the tests of a session."""

import signal
from collections.abc import Iterator

import boto3
import pytest
from prefect.logging.handlers import APILogHandler

from clipflow.settings import settings
from clipflow.storage import aws
from clipflow.storage.objects import ObjectStore, object_store
from clipflow.storage.records import RecordStore, record_store
from tests.programs import AWS, PrefectServer, Program, free_port

BUCKET, TABLE = "clipflow-media", "clipflow-records"


@pytest.fixture(scope="session")
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its endpoint; whoever uses it in this process has its credentials. It keeps nothing."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    env = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1"}
    log = tmp_path_factory.mktemp("aws") / "log"
    program = Program(log, "ministack", env, f"{url}/_ministack/health")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in AWS.items():
            patch.setenv(name, value)
        program.start()
        yield url
        program.stop()


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """Up."""
    server = PrefectServer(tmp_path_factory.mktemp("prefect"))
    server.start()
    yield server
    # Flows that ran in this process log to the server from a thread of their own.
    APILogHandler().flush()
    server.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def storage(local_aws: str) -> Iterator[None]:
    """The settings of this process name a bucket and a table that exist."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", local_aws)
        patch.setenv("BUCKET_NAME", BUCKET)
        patch.setenv("TABLE_NAME", TABLE)
        for cached in (settings, aws.s3_client, aws.records_table):
            cached.cache_clear()
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        boto3.client("dynamodb").create_table(
            TableName=TABLE,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield
    for cached in (settings, aws.s3_client, aws.records_table):
        cached.cache_clear()


@pytest.fixture
def records(storage: None) -> RecordStore:
    return record_store()


@pytest.fixture
def objects(storage: None) -> ObjectStore:
    return object_store()
