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
from tests.faults.killing import BRIDGE, RUN, SERVER, WORKER, kill, pids
from tests.faults.scale import SCALE
from tests.faults.tenants import COMPLETE, FAILED, Episode, Tenants, event, tiny_source
from tests.faults.watching import Histories, Memory, Reader, Visitor, watching
from tests.programs import eventually

SEGMENT = [{"startTime": "00:01.2", "endTime": "00:01.6"}]
OVER = (COMPLETE, FAILED)
DELIVERIES = 3
PATIENCE = 5  # seconds
# Runs are killed as often as all other processes together, because most processes are runs.
VICTIMS = [SERVER, RUN, WORKER, RUN, BRIDGE, RUN]


@dataclass
class Flood:
    """The events, the kills, and the findings of the observers."""

    tenants: Tenants
    stack: RunningStack
    reader: Reader
    histories: Histories
    visitor: Visitor
    memory: Memory
    episodes: list[Episode] = field(default_factory=list)
    requested: dict[str, float] = field(default_factory=dict)
    kills: list[tuple[float, str]] = field(default_factory=list)
    small_done: float = 0
    all_done: float = 0
    failed_once: int = 0

    def deliver(self, episode: Episode, body: str) -> None:
        """Deliver the episode's event once more, and note the wall-clock time."""
        self.requested.setdefault(episode.id, time.time())
        self.tenants.deliver(body)

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """Every run of the flow on the Prefect server."""
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
    with ExitStack() as looking:
        asking, reading, scanning = (
            looking.enter_context(closing(Tenants(stack))) for _ in range(3)
        )
        reader, histories = Reader(reading), Histories(scanning)
        visitor, memory = Visitor(stack, PATIENCE), Memory(stack.settings.home)
        for watch, every in ((reader, 0.3), (histories, 0.5), (visitor, 1.0), (memory, 2.0)):
            looking.enter_context(watching(watch.look, watch, every))
        yield Flood(asking, stack, reader, histories, visitor, memory)


def flood(flooded: Flood, folder: Path) -> None:
    """Run the flood until every clip is made. A failed clip is requested once more."""
    source, rng = tiny_source(folder / "main.mp4"), random.Random(20)
    names = [f"clip-{number}" for number in range(SCALE.clips)]
    flooded.episodes = [Episode("many", names) for _ in range(SCALE.events)]
    small = Episode("few", ["small"])
    for episode in [*flooded.episodes, small]:
        flooded.tenants.detect(episode, source, SEGMENT)
    deliveries = [(episode, event(episode)) for episode in flooded.episodes] * DELIVERIES
    rng.shuffle(deliveries)
    over = threading.Event()
    killer = threading.Thread(target=_kill_now_and_then, args=(flooded, rng, over))
    killer.start()
    try:
        for episode, body in deliveries:
            flooded.deliver(episode, body)
            time.sleep(SCALE.arriving / len(deliveries))
        eventually(lambda: len(flooded.kills) > SCALE.kills // 2, 60 + 30 * SCALE.kills)
        body = event(small)
        for _ in range(DELIVERIES):
            flooded.deliver(small, body)
        flooded.episodes.append(small)
        eventually(lambda: flooded.tenants.record(small, "small")["status"] in OVER, 600)
        flooded.small_done = time.time()
        eventually(lambda: _settled(flooded), 120 + 15 * SCALE.events * SCALE.clips)
        flooded.all_done = time.time()
    finally:
        over.set()
        killer.join()
    _request_failed_again(flooded)


def _request_failed_again(flooded: Flood) -> None:
    """Request failed clips again, as the remedy in their records recommends."""
    records = flooded.tenants.records()
    failed = {pk for (pk, _), record in records.items() if record["status"] == FAILED}
    flooded.failed_once = _count(flooded.tenants, FAILED)
    for episode in flooded.episodes:
        if f"{episode.tenant}#{episode.id}" in failed:
            flooded.tenants.deliver(event(episode))
    wanted = len(records)
    eventually(lambda: _count(flooded.tenants, COMPLETE) == wanted, 120 + 10 * len(failed))


def _kill_now_and_then(flooded: Flood, rng: random.Random, over: threading.Event) -> None:
    for number in range(SCALE.kills):
        if over.wait(rng.uniform(*SCALE.between_kills)):
            return
        part = VICTIMS[number % len(VICTIMS)]
        while not (there := pids(flooded.stack.settings.home, part)):
            if over.wait(0.1):
                return
        kill(rng.choice(there))
        flooded.kills.append((time.monotonic(), part))


def _settled(flooded: Flood) -> bool:
    records = [record["status"] for record in flooded.tenants.records().values()]
    return all(status in OVER for status in records)


def _count(tenants: Tenants, status: str) -> int:
    return sum(record["status"] == status for record in tenants.records().values())
