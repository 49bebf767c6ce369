"""A parent that waits for child runs: what Prefect pushes, and what happens without that."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from threading import Thread
from threading import enumerate as threads
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Running
from websockets import Subprotocol
from websockets.sync.server import ServerConnection, serve

from clipflow.domain.errors import StoppedError
from tasks import child_events, children
from tasks.children import ChildRunGroup
from tests.lost_runs import run_of
from tests.programs import PrefectServer, eventually, free_port, running

pytestmark = pytest.mark.usefixtures("prefect_api")

READ = "POST /flow_runs/filter"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PrefectServer]:
    """A server that a test may kill."""
    server = PrefectServer(tmp_path)
    with running(server), temporary_settings({PREFECT_API_URL: server.url}):
        yield server


@pytest.fixture
def tag() -> str:
    return f"t/{uuid4().hex}/c"


def started(tag: str) -> FlowRun:
    return run_of("extract-segment", {"n": uuid4().hex}, Running(), (tag, f"{tag}/segment-1"))


def end(run: FlowRun, state: State[None]) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, state, force=True)


def waited(group: ChildRunGroup, run: FlowRun) -> str | None:
    """The name of the run's final state, for which this waits as the task of a child does."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run.id)
        while not (run.state and run.state.is_final()):
            run = group.poll(client, run)
    return run.state_name


@contextmanager
def waiting(group: ChildRunGroup, *runs: FlowRun) -> Iterator[list[Future[str | None]]]:
    """Threads that each wait for one of the runs; the group is closed at the end."""
    with ThreadPoolExecutor(len(runs)) as pool:
        try:
            yield [pool.submit(copy_context().run, waited, group, run) for run in runs]
        finally:
            group.close()


@pytest.mark.slow
def test_the_ends_of_children_are_pushed_whatever_their_states_are_called(
    prefect_server: PrefectServer, tag: str
) -> None:
    runs = [started(tag) for _ in range(3)]
    other = started(f"{tag}-other")
    states: list[State[None]] = [
        Completed(),
        Crashed(name="HeartbeatLost"),
        Completed(name="Cached"),
    ]
    group = ChildRunGroup(tag)
    with waiting(group, *runs) as ended:
        eventually(lambda: group.is_listening)
        # It reads once more after the connection, in case that an event was too early for it.
        time.sleep(2 * children.POLL_SECONDS)
        before = prefect_server.requests().count(READ)
        # That other runs end does not concern it.
        end(other, Completed())
        for run, state, future in zip(runs, states, ended, strict=True):
            end(run, state)
            assert future.result(5) == state.name
    assert prefect_server.requests().count(READ) - before <= 2 * len(runs)


@pytest.mark.slow
def test_a_parent_that_waits_for_long_asks_rarely(prefect_server: PrefectServer, tag: str) -> None:
    run, group = started(tag), ChildRunGroup(tag)
    with waiting(group, run) as (ended,):
        eventually(lambda: group.is_listening)
        before = prefect_server.requests().count(READ)
        time.sleep(10)
        assert prefect_server.requests().count(READ) - before <= 1
        end(run, Completed())
        assert ended.result(5) == "Completed"


def test_without_a_websocket_a_parent_asks_every_second(tag: str) -> None:
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        group = ChildRunGroup(tag)
    run = started(tag)
    with waiting(group, run) as (ended,):
        end(run, Completed())
        assert ended.result(5) == "Completed"
    assert not group.is_listening


def test_a_child_that_ended_before_the_parent_listened_is_found(tag: str) -> None:
    run = started(tag)
    end(run, Completed())
    group = ChildRunGroup(tag)
    eventually(lambda: group.is_listening)
    with waiting(group, run) as (ended,):
        assert ended.result(5) == "Completed"


@pytest.mark.slow
def test_a_parent_outlasts_a_restart_of_the_server(own_server: PrefectServer, tag: str) -> None:
    first, second, group = started(tag), started(tag), ChildRunGroup(tag)
    with waiting(group, first, second) as ended:
        eventually(lambda: group.is_listening)
        with own_server.killed():
            eventually(lambda: not group.is_listening)
        end(first, Completed())
        assert ended[0].result(60) == "Completed"
        eventually(lambda: group.is_listening, 60)
        end(second, Completed())
        assert ended[1].result(5) == "Completed"


def test_a_child_that_ended_and_runs_again_is_waited_for(tag: str) -> None:
    run, group = started(tag), ChildRunGroup(tag)
    with waiting(group, run) as (ended,):
        end(run, Crashed())
        assert ended.result(5) == "Crashed"
        end(run, Running())
        with ThreadPoolExecutor(1) as pool:
            again = pool.submit(copy_context().run, waited, group, run)
            time.sleep(1.5 * children.POLL_SECONDS)
            assert not again.done()
            end(run, Completed())
            assert again.result(5) == "Completed"


def test_a_child_that_ended_between_two_reads_of_its_thread_is_returned_at_once(tag: str) -> None:
    run, group = started(tag), ChildRunGroup(tag)
    with waiting(group, run) as (ended,):
        eventually(lambda: group.is_listening)
        end(run, Completed())
        assert ended.result(5) == "Completed"
        before = time.monotonic()
        with get_client(sync_client=True) as client:
            assert group.poll(client, run).state_name == "Completed"
        assert time.monotonic() - before < children.POLL_SECONDS


def test_a_server_that_closes_each_connection_is_tried_ever_more_rarely(
    tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that does not know the filter, or a proxy."""
    monkeypatch.setattr(child_events, "_RETRY_SECONDS", 0.1)
    connected = list[float]()

    def close(connection: ServerConnection) -> None:
        for answer in ({"type": "auth_success"}, None):
            connection.recv()
            if answer:
                connection.send(json.dumps(answer))
        connected.append(time.monotonic())

    with serve(
        close, "127.0.0.1", port := free_port(), subprotocols=[Subprotocol("prefect")]
    ) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
            group = ChildRunGroup(tag)
        eventually(lambda: len(connected) >= 5)
        group.close()
        server.shutdown()
        thread.join()
    assert connected[4] - connected[0] >= 0.1 + 0.2 + 0.4 + 0.8


def test_a_group_that_is_closed_leaves_no_thread_or_connection(tag: str) -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def listening() -> int:
        return sum(thread.name == "child-ends" for thread in threads())

    run = started(tag)
    eventually(lambda: not listening())
    before = opened()
    for wait in (True, False):
        group = ChildRunGroup(tag)
        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(copy_context().run, waited, group, run)
            if wait:
                eventually(lambda group=group: group.is_listening)  # type: ignore[misc]
            group.close()
            with pytest.raises(StoppedError):
                ended.result(5)
    eventually(lambda: not listening() and opened() <= before, 20)
