"""Fixtures shared by all tests: a real local AWS, a real Prefect server and the whole stack."""

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings

from clipflow.machine import cores
from clipflow.settings import settings
from clipflow.storage import aws
from clipflow.storage.objects import ObjectStore, object_store
from clipflow.storage.records import RecordStore, record_store
from deployments.local_stack import RunningStack, provision, running_stack
from deployments.local_stack.stack_settings import BUCKET, TABLE
from tests.programs import AWS, PrefectServer, Program, free_port

# The fixtures that start a server for the whole session.
SERVICES = {"local_aws", "prefect_server", "stack"}

# Examples have no deadline, because their duration depends on the load of the machine.
hypothesis.settings.register_profile("clipflow", deadline=None)
hypothesis.settings.load_profile("clipflow")


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of cores plus one, because many tests wait for a program."""
    return cores() + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a server, and order the test files.

    Files that take minutes come first. Files that need a server come last, because the server runs
    until the end of the session and uses CPU time even while it is idle.
    """
    for item in items:
        if SERVICES & set(getattr(item, "fixturenames", ())):
            item.add_marker("services")
    ranks: dict[Path, int] = {}
    for item in items:
        ranks[item.path] = max(_rank(item), ranks.get(item.path, 0))
    items.sort(key=lambda item: ranks[item.path])


def _rank(item: pytest.Item) -> int:
    needed = getattr(item, "fixturenames", ())
    if any(map(item.get_closest_marker, ("ecs", "faults"))):
        return 0
    return 1 + ("prefect_server" in needed) + 2 * ("stack" in needed)


@pytest.fixture(scope="session")
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a local AWS without persistence; this process has its credentials."""
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
    """A running Prefect server."""
    server = PrefectServer(tmp_path_factory.mktemp("prefect"))
    server.start()
    yield server
    # Flows that ran in this process send their logs to the server from a background thread.
    APILogHandler().flush()
    server.stop(signal.SIGKILL)


@pytest.fixture
def prefect_api(prefect_server: PrefectServer) -> Iterator[None]:
    """Connect clients and flows of this process to the server."""
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        yield


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A running stack as `make up` starts it."""
    home = tmp_path_factory.mktemp("stack")
    with running_stack(home, free_port(), free_port()) as running:
        yield running


@pytest.fixture(scope="session")
def storage(local_aws: str) -> Iterator[None]:
    """Create the resources of infra/data.yaml and set the settings of this process to them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", local_aws)
        patch.setenv("BUCKET_NAME", BUCKET)
        patch.setenv("TABLE_NAME", TABLE)
        for cached in (settings, aws.s3_client, aws.records_table, aws.events_client):
            cached.cache_clear()
        provision.deploy_data(local_aws)
        yield
    for cached in (settings, aws.s3_client, aws.records_table, aws.events_client):
        cached.cache_clear()


@pytest.fixture
def records(storage: None) -> RecordStore:
    return record_store()


@pytest.fixture
def objects(storage: None) -> ObjectStore:
    return object_store()
