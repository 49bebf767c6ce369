"""Many clips requested at once on one machine while its processes are killed."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from deployments.local_stack import RunningStack
from tests.faults.observers import (
    HistoryObserver,
    MemoryObserver,
    ObjectObserver,
    UiObserver,
    observing,
)
from tests.faults.processes import BRIDGE, RUN, SERVER, WORKER, kill, pids
from tests.faults.scale import SCALE
from tests.faults.tenants import COMPLETE, FAILED, Episode, Tenants, event_message, tiny_source
from tests.programs import eventually

# One segment of 0.4 s, so that most of the work is starting runs.
SEGMENT = [{"startTime": "00:01.2", "endTime": "00:01.6"}]
FINAL_STATUSES = (COMPLETE, FAILED)
DELIVERIES = 3
# A UI that has not answered after so long counts as an outage.
UI_TIMEOUT_SECONDS = 5
# The kind of process that each kill selects, in turn. Every second one is a flow run, because most
# processes are flow runs.
KILL_ORDER = [SERVER, RUN, WORKER, RUN, BRIDGE, RUN]


@dataclass
class Flood:
    """The events that were delivered, the processes that were killed, and the observers.

    Attributes:
        requested: wall-clock time of the first delivery of each episode's event, by episode id.
        kills: monotonic time and kind of each killed process.
        small_done: wall-clock time at which the clip of the other tenant had its final status.
        all_done: wall-clock time at which every clip had its final status.
        failed_once: number of clips that failed and were requested again.
    """

    tenants: Tenants
    stack: RunningStack
    reader: ObjectObserver
    histories: HistoryObserver
    ui: UiObserver
    memory: MemoryObserver
    episodes: list[Episode] = field(default_factory=list)
    requested: dict[str, float] = field(default_factory=dict)
    kills: list[tuple[float, str]] = field(default_factory=list)
    small_done: float = 0
    all_done: float = 0
    failed_once: int = 0

    def deliver(self, episode: Episode, body: str) -> None:
        """Deliver the episode's event, and note the wall-clock time of its first delivery."""
        self.requested.setdefault(episode.id, time.time())
        self.tenants.deliver(body)

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """All runs of the flow on the Prefect server, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            body = {
                "flows": {"name": {"any_": [flow]}},
                "offset": len(found),
                "sort": "EXPECTED_START_TIME_ASC",
            }
            url = f"{self.stack.env['PREFECT_API_URL']}/flow_runs/filter"
            page = httpx.post(url, json=body, timeout=30).raise_for_status().json()
            found += page
            if len(page) < 200:
                return found


@contextmanager
def observed(stack: RunningStack) -> Iterator[Flood]:
    """Run all observers, each with its own clients, and yield a flood that has not started."""
    with ExitStack() as cleanup:
        tenants, read_client, scan_client = (
            cleanup.enter_context(closing(Tenants(stack))) for _ in range(3)
        )
        reader, histories = ObjectObserver(read_client), HistoryObserver(scan_client)
        ui, memory = UiObserver(stack, UI_TIMEOUT_SECONDS), MemoryObserver(stack.settings.home)
        for observer, interval in ((reader, 0.3), (histories, 0.5), (ui, 1.0), (memory, 2.0)):
            cleanup.enter_context(observing(observer.check, observer, interval))
        yield Flood(tenants, stack, reader, histories, ui, memory)


def flood(flooded: Flood, folder: Path) -> None:
    """Request all clips, kill processes meanwhile, and return when every clip is made.

    A failed clip is requested once more.
    """
    source, rng = tiny_source(folder / "main.mp4"), random.Random(20)
    names = [f"clip-{number}" for number in range(SCALE.clips)]
    flooded.episodes = [Episode("many", names) for _ in range(SCALE.events)]
    small = Episode("few", ["small"])
    for episode in [*flooded.episodes, small]:
        flooded.tenants.detect(episode, source, SEGMENT)
    deliveries = [(episode, event_message(episode)) for episode in flooded.episodes] * DELIVERIES
    rng.shuffle(deliveries)
    stopped = threading.Event()
    killer = threading.Thread(target=_kill_at_random_times, args=(flooded, rng, stopped))
    killer.start()
    try:
        for episode, body in deliveries:
            flooded.deliver(episode, body)
            time.sleep(SCALE.arrival_seconds / len(deliveries))
        eventually(lambda: len(flooded.kills) > SCALE.kills // 2, 60 + 30 * SCALE.kills)
        body = event_message(small)
        for _ in range(DELIVERIES):
            flooded.deliver(small, body)
        flooded.episodes.append(small)
        eventually(lambda: flooded.tenants.record(small, "small")["status"] in FINAL_STATUSES, 600)
        flooded.small_done = time.time()
        eventually(lambda: _all_are_final(flooded), 120 + 15 * SCALE.events * SCALE.clips)
        flooded.all_done = time.time()
    finally:
        stopped.set()
        killer.join()
    _request_failed_clips_again(flooded)


def _request_failed_clips_again(flooded: Flood) -> None:
    """Request failed clips again, as the remedy in their records recommends."""
    records = flooded.tenants.records()
    failed = {pk for (pk, _), record in records.items() if record["status"] == FAILED}
    flooded.failed_once = _count(flooded.tenants, FAILED)
    for episode in flooded.episodes:
        if f"{episode.tenant}#{episode.id}" in failed:
            flooded.tenants.deliver(event_message(episode))
    wanted = len(records)
    eventually(lambda: _count(flooded.tenants, COMPLETE) == wanted, 120 + 10 * len(failed))


def _kill_at_random_times(flooded: Flood, rng: random.Random, stopped: threading.Event) -> None:
    for number in range(SCALE.kills):
        if stopped.wait(rng.uniform(*SCALE.seconds_between_kills)):
            return
        part = KILL_ORDER[number % len(KILL_ORDER)]
        while not (running := pids(flooded.stack.settings.home, part)):
            if stopped.wait(0.1):
                return
        kill(rng.choice(running))
        flooded.kills.append((time.monotonic(), part))


def _all_are_final(flooded: Flood) -> bool:
    records = [record["status"] for record in flooded.tenants.records().values()]
    return all(status in FINAL_STATUSES for status in records)


def _count(tenants: Tenants, status: str) -> int:
    return sum(record["status"] == status for record in tenants.records().values())
