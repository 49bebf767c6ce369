"""Runs whose machine is gone are ended, and those that Prefect could not hear are not."""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from uuid import UUID, uuid4

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed, Pending, Running
from prefect.workers.process import ProcessWorker

from deployments.bridge.lost_runs import LostRuns
from deployments.bridge.prefect_server import FLOWS, HEARTBEAT, PAGE, Server
from tasks.flow_runs import GENERATE_CLIP
from tests.programs import ROOT, PrefectServer, eventually

pytestmark = pytest.mark.usefixtures("prefect_api")

PROCESSES, MACHINES = "lost-runs-processes", "lost-runs-machines"
TURN = 10


@pytest.fixture(autouse=True)
def pools(prefect_api: None) -> Iterator[None]:
    """A pool of processes and one of ECS tasks, without workers; other tests' runs are deleted."""
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs():
            client.delete_flow_run(run.id)
        for name, type in ((PROCESSES, ProcessWorker.type), (MACHINES, "ecs")):
            client.create_work_pool(WorkPoolCreate(name=name, type=type), overwrite=True)
        yield
        for name in (PROCESSES, MACHINES):
            client.delete_work_pool(name)


def run_in(
    state: State[None], pool: str | None = PROCESSES, flow: str = GENERATE_CLIP, count: int = 1
) -> list[UUID]:
    """The ids of `count` new runs in this state, which a worker of the pool has taken."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name(flow)
        deployment = client.create_deployment(flow_id, f"in {pool}", work_pool_name=pool)
        made = [client.create_flow_run_from_deployment(deployment) for _ in range(count)]
        for run in made:
            client.set_flow_run_state(run.id, state, force=True)
    return [run.id for run in made]


class StoringServer(Server):
    """A server that has stored what was posted to it when it answers."""

    async def post(self, events: dict[UUID, bytes]) -> dict[UUID, str]:
        refused = await super().post(events)
        while set(events) != await self.stored(events):
            await asyncio.sleep(0.05)
        return refused


class Clock:
    """The seconds that pass in a test, from the moment it is created."""

    def __init__(self, server: PrefectServer) -> None:
        self._server = server
        self._began = datetime.now(UTC)

    def at(self, seconds: float) -> datetime:
        return self._began + timedelta(seconds=seconds)

    def beat(self, runs: Iterable[UUID], seconds: Iterable[float]) -> None:
        """Let the runs send a heartbeat at each of these times, and wait until all are stored."""
        bodies = [
            {
                "id": str(uuid4()),
                "occurred": self.at(second).isoformat(),
                "event": HEARTBEAT,
                "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
            }
            for run in runs
            for second in seconds
        ]
        self._server.post("/events", bodies)
        ids = {"id": {"id": [body["id"] for body in bodies]}}

        def are_stored() -> bool:
            occurred = {"since": self.at(-60).isoformat(), "until": self.at(7200).isoformat()}
            body = {"filter": {**ids, "occurred": occurred}}
            return self._server.post("/events/filter", body).json()["total"] == len(bodies)  # type: ignore[no-any-return]

        eventually(are_stored)

    def ended(
        self, runs: list[UUID], turns: Iterable[float], server: type[Server] = StoringServer
    ) -> dict[UUID, tuple[float, str]]:
        """Take a turn at each of these times; returns when each run was ended, and its state."""

        async def take() -> dict[UUID, tuple[float, str]]:
            found: dict[UUID, tuple[float, str]] = {}
            async with get_client() as client:
                lost = LostRuns(server(client, timeout=30))
                for second in turns:
                    await lost.end(self.at(second))
                    for id in [id for id in runs if id not in found]:
                        state = (await client.read_flow_run(id)).state
                        if state and state.is_final():
                            found[id] = second, state.name or ""
            return found

        return asyncio.run(take())


@pytest.fixture
def clock(prefect_server: PrefectServer) -> Clock:
    return Clock(prefect_server)


def test_every_flow_of_clipflow_is_watched() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    places = (deployment["entrypoint"].partition(":") for deployment in deployments)
    assert {getattr(import_module(module), name).name for module, _, name in places} == set(FLOWS)


def test_a_run_without_heartbeats_is_lost_and_one_that_sends_some_is_not(clock: Clock) -> None:
    silent, beating, silent_later = run_in(Running(), count=3)
    by_hand = run_in(Running(), pool=None)
    foreign = run_in(Running(), flow="their-flow")
    clock.beat([beating], range(0, 300, 30))
    clock.beat([silent_later], range(0, 100, 30))
    ended = clock.ended([silent, beating, silent_later, *by_hand, *foreign], range(TURN, 300, TURN))
    # The first turn begins at 10 s, before which the server may not have answered.
    assert ended == {silent: (100, "HeartbeatLost"), silent_later: (180, "HeartbeatLost")}


@pytest.mark.parametrize("minutes", [2, 60])
def test_time_does_not_count_while_prefect_is_away(clock: Clock, minutes: int) -> None:
    silent, beating = run_in(Running(), count=2)
    away = range(60 * minutes)
    back = away.stop + 20
    clock.beat([beating, silent], [-30])
    # As the client does once it is connected again.
    clock.beat([beating], [10, back + 25, back + 55, back + 85])
    turns = [*range(-50, away.start, TURN), *range(back, back + 110, TURN)]
    assert clock.ended([silent, beating], turns) == {silent: (back + 90, "HeartbeatLost")}


def test_a_run_is_not_lost_while_its_heartbeats_may_wait_to_be_stored(clock: Clock) -> None:
    """After twenty turns, the server stores the events of three minutes at once."""
    [run] = run_in(Running())

    class BusyServer(Server):
        turns = 0

        async def post(self, events: dict[UUID, bytes]) -> dict[UUID, str]:
            return {}

        async def stored(self, ids: Collection[UUID]) -> set[UUID]:
            return set(ids) if self.turns >= 20 else set()

        async def heartbeats(
            self, runs: Collection[UUID], since: datetime, until: datetime
        ) -> dict[UUID, datetime]:
            self.turns += 1
            return dict.fromkeys(runs, until) if self.turns > 20 else {}

    assert not clock.ended([run], range(0, 400, TURN), BusyServer)


def test_more_runs_than_fit_in_one_response(clock: Clock) -> None:
    runs = run_in(Running(), count=PAGE + 2)
    clock.beat(runs[1:], [0, 30, 60])
    assert clock.ended(runs, [0, 30, 60, 90, 100]) == {runs[0]: (100, "HeartbeatLost")}


def test_a_run_that_is_not_started_in_time_is_lost(clock: Clock) -> None:
    [process] = run_in(Pending())
    [machine] = run_in(Pending(), MACHINES)
    turns = range(0, 2000, 40)
    ended = clock.ended([process, machine], turns)
    # A machine may take half an hour to start.
    assert ended == {process: (160, "NeverStarted"), machine: (1840, "NeverStarted")}


def test_a_run_that_has_just_ended_keeps_its_state(clock: Clock) -> None:
    [run] = run_in(Running())

    class EndsMeanwhile(StoringServer):
        async def heartbeats(
            self, runs: object, since: datetime, until: datetime
        ) -> dict[UUID, datetime]:
            await self._client.set_flow_run_state(run, Completed())
            return {}

    async def state_after() -> FlowRun:
        async with get_client() as client:
            lost = LostRuns(EndsMeanwhile(client, timeout=30))
            await lost.end(clock.at(60))
            for second in (100, 140, 150):
                await lost.end(clock.at(second))
            return await client.read_flow_run(run)

    state = asyncio.run(state_after()).state
    assert state and state.is_completed()
