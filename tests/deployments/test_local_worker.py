"""When the local stack's worker polls its pools, which depends on the events of their runs."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.events import Event
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.local_stack.provision import create_work_pools
from deployments.local_stack.stack_settings import STARTERS
from deployments.local_stack.worker import (
    ACTIVE_INTERVAL,
    ACTIVE_SECONDS,
    IDLE_SECONDS,
    MOST_BURST_SECONDS,
    MOST_POLLS,
    MOST_POLLS_SECONDS,
    ONE_EVENT_SECONDS,
    Activity,
    Burst,
    LocalWorker,
    report,
)
from tests.programs import PrefectServer, running


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_pool_is_polled_rarely_until_a_run_is_scheduled_or_ends() -> None:
    clock = Clock()
    activity = Activity(clock)

    def polls(seconds: float) -> int:
        """The number of polls in this time, if the worker checks every 0.1 s whether one is due."""
        count = 0
        for _ in range(round(seconds * 10)):
            clock.seconds += 0.1
            if not activity.seconds_to_poll():
                activity.polled()
                count += 1
        return count

    activity.polled()
    clock.seconds += ACTIVE_SECONDS
    idle = polls(60)
    assert 60 / IDLE_SECONDS - 2 <= idle <= 60 / IDLE_SECONDS
    activity.changed()
    at_once, later = 1, (ACTIVE_SECONDS - 0.1) // (ACTIVE_INTERVAL + 0.1)
    assert at_once + later <= polls(ACTIVE_SECONDS) <= at_once + ACTIVE_SECONDS // ACTIVE_INTERVAL
    clock.seconds += 0.2
    assert abs(polls(60) - idle) <= 1


def test_a_pool_in_which_many_runs_are_scheduled_is_polled_twice_a_second() -> None:
    clock = Clock()
    activity = Activity(clock)
    times = list[float]()
    for _ in range(80):
        activity.changed()
        if not activity.seconds_to_poll():
            activity.polled()
            times.append(clock.seconds - 100)
        clock.seconds += 0.25
    # The first ones are at once, because a clip needs two runs, one after the other.
    assert times[:6] == [0, 0.25, 0.5, 0.75, 1, 2.5]
    assert len(times) == 20 * MOST_POLLS / MOST_POLLS_SECONDS


async def first_poll(activity: Activity) -> float:
    await activity.wait_until_due()
    activity.polled()
    return time.monotonic()


def test_a_change_ends_the_wait_for_the_next_poll() -> None:
    async def waited() -> float:
        activity = Activity()
        start = await first_poll(activity)
        asyncio.get_running_loop().call_later(0.05, activity.changed)
        await activity.wait_until_due()
        return time.monotonic() - start

    assert asyncio.run(waited()) < ACTIVE_INTERVAL


def test_a_change_during_a_poll_is_not_missed() -> None:
    async def waited() -> float:
        activity = Activity()
        start = await first_poll(activity)
        activity.changed()
        await activity.wait_until_due()
        return time.monotonic() - start

    assert asyncio.run(waited()) < ACTIVE_INTERVAL


@pytest.mark.parametrize(
    ("state_type", "pools", "reported"),
    [
        ("SCHEDULED", ["one"], {"one"}),
        ("COMPLETED", ["one"], {"one"}),
        ("CRASHED", ["one"], {"one"}),
        ("SCHEDULED", [], {"one", "two"}),
        ("SCHEDULED", ["another stack's"], {"one", "two"}),
        ("RUNNING", ["one"], set()),
        (None, ["one"], set()),  # a heartbeat
    ],
)
def test_events_are_reported_to_the_pool_of_their_run(
    state_type: str | None, pools: list[str], reported: set[str]
) -> None:
    clock = Clock()
    activities = {name: Activity(clock) for name in ("one", "two")}
    clock.seconds += 60
    for activity in activities.values():
        activity.polled()
    clock.seconds += 0.1
    resource = {"prefect.resource.id": "prefect.flow-run.1"}
    if state_type:
        resource["prefect.state-type"] = state_type
    related = [
        {
            "prefect.resource.id": f"prefect.work-pool.{name}",
            "prefect.resource.role": "work-pool",
            "prefect.resource.name": name,
        }
        for name in pools
    ]
    report(Event(event="prefect.flow-run.x", resource=resource, related=related), activities)
    assert {name for name, one in activities.items() if not one.seconds_to_poll()} == reported


def test_a_burst_begins_when_starts_take_longer_than_one_event_and_ends_with_them() -> None:
    clock = Clock()
    burst = Burst(clock)
    with burst.starter():
        clock.seconds += ONE_EVENT_SECONDS
        assert not burst.is_on()
        with burst.starter():
            clock.seconds += 1
            assert burst.is_on()
        assert burst.is_on()
    assert not burst.is_on()
    with burst.starter():
        assert not burst.is_on()


def test_clips_are_made_again_during_a_burst_that_does_not_end() -> None:
    clock = Clock()
    burst = Burst(clock)
    with burst.starter():
        clock.seconds += MOST_BURST_SECONDS - 1
        assert burst.is_on()
        clock.seconds += 1
        assert not burst.is_on()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[None]:
    """A server of its own: others have ECS pools of the same names."""
    server = PrefectServer(tmp_path)
    with running(server), temporary_settings({PREFECT_API_URL: server.url}):
        yield


@pytest.fixture
def start(server: None) -> Callable[[str, str], Awaitable[UUID]]:
    """Creates a run in a queue of the pool `clipflow-orchestrate`, with its process's command."""

    async def create(queue: str, command: str) -> UUID:
        async with get_client() as client:
            deployment = await client.create_deployment(
                await client.create_flow_from_name("any"),
                f"in-{queue}",
                work_pool_name="clipflow-orchestrate",
                work_queue_name=queue,
                pull_steps=[],
            )
            job = {"command": command}
            run = await client.create_flow_run_from_deployment(deployment, job_variables=job)
            return run.id

    asyncio.run(create_work_pools())
    return create


@pytest.mark.slow
@pytest.mark.services
def test_no_clip_is_made_until_the_clips_of_a_burst_of_events_are_started(
    start: Callable[[str, str], Awaitable[UUID]], tmp_path: Path
) -> None:
    end = tmp_path / "end"
    os.mkfifo(end)

    async def take() -> None:
        clock = Clock()
        activity = Activity(clock)
        clock.seconds += 0.01
        activity.polled()
        async with LocalWorker(
            activity, Burst(clock), work_pool_name="clipflow-orchestrate"
        ) as worker:
            await worker.sync_with_backend()

            async def taken() -> set[UUID]:
                """The runs that are taken by a poll that becomes due while the worker waits."""
                polling = asyncio.create_task(worker.get_and_submit_flow_runs())
                await asyncio.sleep(0)
                clock.seconds += MOST_POLLS_SECONDS
                activity.changed()
                clock.seconds += 0.01
                return {run.id for run in await polling}

            event = await start(STARTERS, f"cat {end}")
            assert await taken() == {event}
            writer = await asyncio.to_thread(end.open, "w")  # Returns when the process reads.
            clip, later = await start("media", "true"), await start(STARTERS, "true")
            assert await taken() == {later}
            writer.close()
            async with asyncio.timeout(30):
                while not await taken() >= {clip}:
                    await asyncio.sleep(0.05)

    asyncio.run(take())
