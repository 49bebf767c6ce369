"""Fixtures shared by all tests: a real local AWS, a real Prefect server and the whole stack."""

import signal
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from xdist import is_xdist_worker
from xdist.scheduler import LoadFileScheduling

from clipflow.machine import cores
from clipflow.settings import settings
from clipflow.storage import aws
from clipflow.storage.objects import ObjectStore, object_store
from clipflow.storage.records import RecordStore, record_store
from deployments.local_stack import RunningStack, provision, running_stack
from deployments.local_stack.stack_settings import BUCKET, TABLE
from tests.programs import AWS, ROOT, PrefectServer, Program, free_port

# The fixtures that start a server for the whole session.
SERVICES = {"local_aws", "prefect_server", "stack"}

# The files with tests that use the fixture `stack`. One worker runs all of them, so that only one
# stack is started: even an idle one uses a considerable part of a core.
STACK_FILES = {
    "tests/command/test_edit.py",
    "tests/command/test_jobs.py",
    "tests/command/test_review.py",
    "tests/deployments/test_operate_local_stack.py",
    "tests/tasks/test_fan_out.py",
    "tests/test_command.py",
    "tests/test_end_to_end.py",
    "tests/test_guide_commands.py",
    "tests/test_prefect_ui.py",
}
# Closing it stops the stack.
running = ExitStack()

# Examples have no deadline, because their duration depends on the load of the machine.
hypothesis.settings.register_profile("clipflow", deadline=None)
hypothesis.settings.load_profile("clipflow")


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of cores plus two: the workers of ECS and of the stack wait for most of the
    time, and many other tests wait for a program."""
    return cores() + 2


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Assigns whole files to the workers, and all files that share servers to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        if file.startswith("tests/ecs/"):
            return "ecs"
        return "stack" if file in STACK_FILES else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling | None:
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a server, and order the test files.

    Files that take minutes come first: the tests on ECS, those of faults, and those that use the
    stack. Files that need a Prefect server come last, because the server runs until the end of the
    session and uses CPU time even while it is idle. Of each kind, the file with the most slow tests
    comes first, so that no worker begins with it when the others are done.
    """
    for item in items:
        names = getattr(item, "fixturenames", ())
        if SERVICES & set(names):
            item.add_marker("services")
        if "stack" in names and not _is_in_stack_file(item):
            raise pytest.UsageError(f"{item.path} uses `stack`: add it to STACK_FILES.")
    ranks: dict[Path, int] = {}
    slow = Counter(
        item.path for item in items if any(map(item.get_closest_marker, ("slow", "services")))
    )
    for item in items:
        ranks[item.path] = max(_rank(item), ranks.get(item.path, 0))
    items.sort(key=lambda item: (ranks[item.path], -slow[item.path]))


def _rank(item: pytest.Item) -> int:
    if any(map(item.get_closest_marker, ("ecs", "faults"))):
        return 0
    if _is_in_stack_file(item):
        return 1
    return 3 if "prefect_server" in getattr(item, "fixturenames", ()) else 2


def _is_in_stack_file(item: pytest.Item) -> bool:
    return item.path.relative_to(ROOT).as_posix() in STACK_FILES


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Stop the stack when the worker continues with files that do not use it."""
    result = yield
    if is_xdist_worker(item) and nextitem and not _is_in_stack_file(nextitem):
        running.close()
    return result


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
    with running:
        yield running.enter_context(running_stack(home, free_port(), free_port()))


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
